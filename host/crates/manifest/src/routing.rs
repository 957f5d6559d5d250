//! Findings about routes of a manifest that clash.

use lacewing_base::{
    HostPattern, Methods, Route,
    route::{Clash, RouteSet},
};

use super::{Diagnostic, Written};

/// The routes of an app, or of all apps of a tenant, as far as they were looked at.
#[derive(Default)]
pub(crate) struct Routes<'a> {
    set: RouteSet<'a>,
    /// Each with its owner, by its number in the set.
    added: Vec<(String, &'a Written<Route>)>,
}

impl<'a> Routes<'a> {
    /// No routes yet; see [`RouteSet::under`].
    pub(crate) fn under(hosts: &'a [HostPattern]) -> Routes<'a> {
        Routes { set: RouteSet::under(hosts), added: Vec::new() }
    }

    /// Adds a route of `owner` (such as "function `a`"), or gives its clash with an earlier one.
    pub(crate) fn add(&mut self, owner: &str, route: &'a Written<Route>) -> Option<Clashing<'_>> {
        self.added.push((owner.to_owned(), route));
        let Clash { with, same } = self.set.add(route).err()?;
        let (owner, other) = &self.added[with];
        Some(Clashing { route, owner, other, same })
    }

    /// See [`RouteSet::settle`].
    pub(crate) fn settle(&mut self, keep: bool) {
        self.set.settle(keep);
    }
}

/// A route that cannot stand beside another one.
pub(crate) struct Clashing<'a> {
    route: &'a Written<Route>,
    owner: &'a str,
    other: &'a Written<Route>,
    same: bool,
}

impl Clashing<'_> {
    /// The finding about the route.
    pub(crate) fn finding(&self) -> Diagnostic {
        let Clashing { route, owner, other, same } = *self;
        if same { duplicate(route, owner, other) } else { ambiguous(route, owner, other) }
    }
}

fn duplicate(route: &Written<Route>, owner: &str, other: &Written<Route>) -> Diagnostic {
    let message = format!("route `{route}` is taken by {owner}");
    let same_text = route.path.as_str() == other.path.as_str();
    let there = if same_text {
        "the route is here".to_owned()
    } else {
        format!("`{other}` matches the same paths")
    };
    let finding = Diagnostic::error(message).at(&route.place).related(&other.place, there);
    match (&route.methods, &other.methods) {
        (Methods::Only(_), Methods::Only(_)) => finding,
        _ => finding.help("a route without `methods` takes every method"),
    }
}

/// A parameter for one segment and one for all the rest cannot stand at the same place: no route is
/// preferred.
fn ambiguous(route: &Written<Route>, owner: &str, other: &Written<Route>) -> Diagnostic {
    let message =
        format!("route `{}` and `{}` of {owner} match the same paths", route.path, other.path);
    let help = "a parameter for one segment and one for all the rest cannot stand at the same place: put a literal segment before one of them";
    Diagnostic::error(message)
        .help(help)
        .at(&route.place)
        .related(&other.place, "the other route is here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManifestText;

    fn route(text: &str, methods: &[http::Method]) -> Written<Route> {
        let methods =
            if methods.is_empty() { Methods::Any } else { Methods::Only(methods.to_vec()) };
        let place = ManifestText::new("lacewing.toml", "").place(0..0);
        Written::new(Route { path: text.parse().unwrap(), methods, host: None }, place)
    }

    #[test]
    fn a_finding_says_which_route_is_taken_and_by_which_function() {
        use http::Method;
        let message = |first: Written<Route>, second: Written<Route>| {
            let mut routes = Routes::default();
            assert!(routes.add("a", &first).is_none());
            routes.add("b", &second).map(|clashing| clashing.finding().message).unwrap()
        };
        let any = |text| route(text, &[]);
        assert_eq!(message(any("/a"), any("/a")), "route `/a` is taken by a");
        assert_eq!(message(any("/{a}/x"), any("/{b}/x")), "route `/{b}/x` is taken by a");
        assert_eq!(
            message(any("/{a}"), any("/{*b}")),
            "route `/{*b}` and `/{a}` of a match the same paths"
        );
        assert_eq!(
            message(any("/{*a}"), any("/{b}/c")),
            "route `/{b}/c` and `/{*a}` of a match the same paths"
        );
        let put = route("/a", &[Method::PUT]);
        assert_eq!(
            message(route("/a", &[Method::POST, Method::PUT]), put),
            "route `PUT /a` is taken by a"
        );
    }
}

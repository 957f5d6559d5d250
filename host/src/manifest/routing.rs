//! Which routes cannot stand side by side.

use std::{collections::HashMap, fmt};

use super::{Diagnostic, HostPattern, Methods, Route};

/// The routes of an app, or of all apps of a tenant, as far as they were looked at.
#[derive(Default)]
pub(crate) struct Routes<'a> {
    by_shape: HashMap<(Option<&'a HostPattern>, String), Vec<Entry<'a>>>,
    /// The first route that has a parameter of a kind after a prefix: one segment, or all the rest.
    by_prefix: HashMap<(Option<&'a HostPattern>, String, Kind), Entry<'a>>,
}

type Entry<'a> = (String, &'a Route);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    One,
    Rest,
}

impl<'a> Routes<'a> {
    /// Adds a route of `owner` (such as "function `a`"), or says with what it clashes.
    pub(crate) fn add(
        &mut self,
        owner: &impl fmt::Display,
        route: &'a Route,
    ) -> Option<Diagnostic> {
        let shape = route.path.shape();
        let same = self.by_shape.entry((route.host.as_ref(), shape.clone())).or_default();
        let clash = same.iter().find(|(_, other)| other.methods.overlap(&route.methods));
        let finding = match clash {
            Some((other_owner, other)) => Some(duplicate(route, other_owner, other)),
            None => self.ambiguity(route, &shape),
        };
        let entry = || (owner.to_string(), route);
        if finding.is_none() {
            self.by_shape.entry((route.host.as_ref(), shape.clone())).or_default().push(entry());
            for (prefix, kind) in parameters(&shape) {
                let key = (route.host.as_ref(), prefix.to_owned(), kind);
                self.by_prefix.entry(key).or_insert_with(entry);
            }
        }
        finding
    }

    /// A parameter for one segment and one for all the rest cannot stand at the same place: no route is preferred.
    fn ambiguity(&self, route: &Route, shape: &str) -> Option<Diagnostic> {
        let (owner, other) = parameters(shape).find_map(|(prefix, kind)| {
            let other_kind = match kind {
                Kind::One => Kind::Rest,
                Kind::Rest => Kind::One,
            };
            self.by_prefix.get(&(route.host.as_ref(), prefix.to_owned(), other_kind))
        })?;
        let message =
            format!("route `{}` and `{}` of {owner} match the same paths", route.path, other.path);
        let help = "a parameter for one segment and one for all the rest cannot stand at the same place: put a literal segment before one of them";
        Some(
            Diagnostic::error(message)
                .help(help)
                .at(&route.place)
                .related(&other.place, "the other route is here"),
        )
    }
}

fn duplicate(route: &Route, owner: &str, other: &Route) -> Diagnostic {
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

/// The parameters of a shape, each with what stands before it.
fn parameters(shape: &str) -> impl Iterator<Item = (&str, Kind)> {
    shape.match_indices("/{").map(|(at, _)| {
        let kind = if shape[at + 2..].starts_with('*') { Kind::Rest } else { Kind::One };
        (&shape[..at], kind)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ManifestText, RoutePath};
    use super::*;

    fn route(path: &str, methods: Methods) -> Route {
        let place = ManifestText::new("lacewing.toml", "").place(0..0);
        Route { path: path.parse().unwrap(), methods, host: None, place }
    }

    fn clash(first: &str, second: &str) -> Option<String> {
        let (first, second) = (route(first, Methods::Any), route(second, Methods::Any));
        let mut routes = Routes::default();
        assert!(routes.add(&"a", &first).is_none());
        routes.add(&"b", &second).map(|finding| finding.message)
    }

    #[test]
    fn clashes() {
        assert_eq!(clash("/a", "/a").unwrap(), "route `/a` is taken by a");
        assert_eq!(clash("/{a}/x", "/{b}/x").unwrap(), "route `/{b}/x` is taken by a");
        assert_eq!(
            clash("/{a}", "/{*b}").unwrap(),
            "route `/{*b}` and `/{a}` of a match the same paths"
        );
        assert_eq!(
            clash("/{*a}", "/{b}/c").unwrap(),
            "route `/{b}/c` and `/{*a}` of a match the same paths"
        );
        for (first, second) in [
            ("/a", "/a/"),
            ("/{a}", "/b"),
            ("/{*a}", "/b"),
            ("/x/{*a}", "/{a}"),
            ("/{a}", "/{a}/b"),
        ] {
            assert_eq!(clash(first, second), None, "{first} {second}");
        }
    }

    #[test]
    fn methods_and_hosts_keep_routes_apart() {
        let only = |methods: &[http::Method]| Methods::Only(methods.to_vec());
        let get = route("/a", only(&[http::Method::GET]));
        let post = route("/a", only(&[http::Method::POST, http::Method::PUT]));
        let put = route("/a", only(&[http::Method::PUT]));
        let mut elsewhere = put.clone();
        elsewhere.host = Some("example.com".parse().unwrap());
        let mut routes = Routes::default();
        assert!(routes.add(&"a", &get).is_none());
        assert!(routes.add(&"b", &post).is_none());
        assert_eq!(routes.add(&"c", &put).unwrap().message, "route `PUT /a` is taken by b");
        assert!(routes.add(&"d", &elsewhere).is_none());
    }

    proptest! {
        /// What is found to be free of clashes is taken by the router, and the other way around.
        #[test]
        fn agrees_with_matchit(paths in prop::collection::vec("(/(a|b|ab|\\{x\\}|\\{y\\})){0,3}(/(\\{\\*r\\}|\\{\\*s\\}|a|c)?)", 1..8)) {
            let parsed: Vec<Route> = paths.iter().map(|path| path.parse::<RoutePath>()).filter_map(Result::ok)
                .map(|path| route(path.as_str(), Methods::Any)).collect();
            let mut routes = Routes::default();
            let mut router = matchit::Router::new();
            for route in &parsed {
                let ours = routes.add(&"f", route);
                let theirs = router.insert(route.path.shape(), ());
                prop_assert_eq!(ours.is_none(), theirs.is_ok(), "{} {:?} {:?}", route.path, ours, theirs);
            }
        }
    }
}

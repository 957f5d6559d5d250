//! Which routes cannot stand side by side.
//!
//! Two routes under one host clash if some request could be answered by both and nothing prefers one of them:
//!
//! - They fit the same paths, and a method is in both. `HEAD` that comes with `GET` is not: a route that names it is
//!   preferred.
//! - One has a parameter for a segment where the other has one for all the rest, and both answer some method.

use std::{collections::HashMap, fmt};

use super::{Diagnostic, HostPattern, Methods, Route, RoutePath};

/// Routes under one host that can stand side by side. `T` is how the caller calls them.
#[derive(Debug)]
pub(crate) struct Clashes<'a, T> {
    by_shape: HashMap<String, Vec<(&'a Methods, T)>>,
    /// The parameters after each prefix.
    by_place: HashMap<String, Vec<(Kind, &'a Methods, T)>>,
}

/// What a route that was to be added clashes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clash<T> {
    /// The route that was there before.
    pub(crate) with: T,
    /// Whether both fit the same paths. Otherwise one has a parameter for a segment where the other has one for all
    /// the rest.
    pub(crate) same: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    One,
    Rest,
}

impl<T> Default for Clashes<'_, T> {
    fn default() -> Self {
        Clashes { by_shape: HashMap::new(), by_place: HashMap::new() }
    }
}

impl<'a, T: Copy> Clashes<'a, T> {
    /// Adds a route, unless it clashes with one that is there.
    pub(crate) fn add(
        &mut self,
        path: &RoutePath,
        methods: &'a Methods,
        route: T,
    ) -> Result<(), Clash<T>> {
        let shape = path.shape();
        let same = self.by_shape.get(&shape).map_or(&[][..], Vec::as_slice);
        if let Some((_, with)) = same.iter().find(|(other, _)| other.overlap(methods)) {
            return Err(Clash { with: *with, same: true });
        }
        for (prefix, kind) in parameters(&shape) {
            let there = self.by_place.get(prefix).map_or(&[][..], Vec::as_slice);
            let other = there.iter().find(|(other, of, _)| *other != kind && of.compete(methods));
            if let Some((_, _, with)) = other {
                return Err(Clash { with: *with, same: false });
            }
        }
        for (prefix, kind) in parameters(&shape) {
            self.by_place.entry(prefix.to_owned()).or_default().push((kind, methods, route));
        }
        self.by_shape.entry(shape).or_default().push((methods, route));
        Ok(())
    }
}

/// The routes of an app, or of all apps of a tenant, as far as they were looked at.
#[derive(Default)]
pub(crate) struct Routes<'a> {
    hosts: &'a [HostPattern],
    added: Vec<(String, &'a Route)>,
    by_host: HashMap<Option<&'a HostPattern>, Clashes<'a, usize>>,
}

impl<'a> Routes<'a> {
    /// No routes yet. Those that name no host are served under all of these; none are all that are not known yet.
    pub(crate) fn under(hosts: &'a [HostPattern]) -> Routes<'a> {
        Routes { hosts, ..Routes::default() }
    }

    /// Adds a route of `owner` (such as "function `a`"), or says with what it clashes.
    pub(crate) fn add(
        &mut self,
        owner: &impl fmt::Display,
        route: &'a Route,
    ) -> Option<Diagnostic> {
        let hosts: Vec<Option<&HostPattern>> = match (&route.host, self.hosts) {
            (None, []) => vec![None],
            (None, hosts) => hosts.iter().map(Some).collect(),
            (Some(host), _) => vec![Some(host)],
        };
        let mut clash = None;
        for host in hosts {
            let routes = self.by_host.entry(host).or_default();
            let added = routes.add(&route.path, &route.methods, self.added.len());
            clash = clash.or(added.err());
        }
        self.added.push((owner.to_string(), route));
        let Clash { with, same } = clash?;
        let (owner, other) = &self.added[with];
        Some(if same { duplicate(route, owner, other) } else { ambiguous(route, owner, other) })
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

/// A parameter for one segment and one for all the rest cannot stand at the same place: no route is preferred.
fn ambiguous(route: &Route, owner: &str, other: &Route) -> Diagnostic {
    let message =
        format!("route `{}` and `{}` of {owner} match the same paths", route.path, other.path);
    let help = "a parameter for one segment and one for all the rest cannot stand at the same place: put a literal segment before one of them";
    Diagnostic::error(message)
        .help(help)
        .at(&route.place)
        .related(&other.place, "the other route is here")
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

    #[test]
    fn routes_without_a_request_in_common_stand_side_by_side() {
        use http::Method;
        let only = |methods: &[Method]| Methods::Only(methods.to_vec());
        let clash = |first: (&str, Methods), second: (&str, Methods)| {
            let (first, second) = (route(first.0, first.1), route(second.0, second.1));
            let mut routes = Routes::default();
            assert!(routes.add(&"a", &first).is_none());
            routes.add(&"b", &second).is_some()
        };
        let (get, head, post) =
            (only(&[Method::GET]), only(&[Method::HEAD]), only(&[Method::POST]));
        assert!(!clash(("/a/{*r}", get.clone()), ("/a/{id}", post)));
        assert!(!clash(("/a", get.clone()), ("/a", head.clone())));
        assert!(clash(("/a/{*r}", get), ("/a/{id}", head)), "HEAD has no preference here");
        let options = only(&[Method::OPTIONS]);
        assert!(!clash(("/a", Methods::Any), ("/a", options.clone())));
        assert!(clash(("/a", Methods::Every), ("/a", options)));
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

//! Routes that clash, and how many of the others are looked at to find that.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::{HostPattern, Route, route::RouteSet};

thread_local! {
    /// How often something was looked up in what is known of other routes.
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn looked() {
    LOOKS.set(LOOKS.get() + 1);
}

fn route(path: &str, methods: Methods) -> Route {
    Route { path: path.parse().unwrap(), methods, host: None }
}

/// Whether the second of two routes for every method fits the same paths as the first; `None` if
/// they do not clash.
fn clash(first: &str, second: &str) -> Option<bool> {
    let (first, second) = (route(first, Methods::Any), route(second, Methods::Any));
    let mut routes = RouteSet::default();
    assert_eq!(routes.add(&first), Ok(()));
    routes.add(&second).err().map(|clash| clash.same)
}

#[test]
fn clashes() {
    assert_eq!(clash("/a", "/a"), Some(true));
    assert_eq!(clash("/{a}/x", "/{b}/x"), Some(true));
    assert_eq!(clash("/{a}", "/{*b}"), Some(false));
    assert_eq!(clash("/{*a}", "/{b}/c"), Some(false));
    for (first, second) in
        [("/a", "/a/"), ("/{a}", "/b"), ("/{*a}", "/b"), ("/x/{*a}", "/{a}"), ("/{a}", "/{a}/b")]
    {
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
    let mut routes = RouteSet::default();
    assert_eq!(routes.add(&get), Ok(()));
    assert_eq!(routes.add(&post), Ok(()));
    assert_eq!(routes.add(&put), Err(Clash { with: 1, same: true }));
    assert_eq!(routes.add(&elsewhere), Ok(()));
}

#[test]
fn routes_without_a_request_in_common_stand_side_by_side() {
    use http::Method;
    let only = |methods: &[Method]| Methods::Only(methods.to_vec());
    let clash = |first: (&str, Methods), second: (&str, Methods)| {
        let (first, second) = (route(first.0, first.1), route(second.0, second.1));
        let mut routes = RouteSet::default();
        assert_eq!(routes.add(&first), Ok(()));
        routes.add(&second).is_err()
    };
    let (get, head, post) = (only(&[Method::GET]), only(&[Method::HEAD]), only(&[Method::POST]));
    assert!(!clash(("/a/{*r}", get.clone()), ("/a/{id}", post)));
    assert!(!clash(("/a", get.clone()), ("/a", head.clone())));
    assert!(clash(("/a/{*r}", get), ("/a/{id}", head)), "HEAD has no preference here");
    let options = only(&[Method::OPTIONS]);
    assert!(!clash(("/a", Methods::Any), ("/a", options.clone())));
    assert!(clash(("/a", Methods::Every), ("/a", options)));
}

proptest! {
    /// The router takes all routes that are found to be free of clashes, and the other way around.
    #[test]
    fn agrees_with_matchit(paths in prop::collection::vec("(/(a|b|ab|\\{x\\}|\\{y\\})){0,3}(/(\\{\\*r\\}|\\{\\*s\\}|a|c)?)", 1..8)) {
        let parsed: Vec<Route> = paths.iter().map(|path| path.parse::<RoutePath>()).filter_map(Result::ok)
            .map(|path| route(path.as_str(), Methods::Any)).collect();
        let mut routes = RouteSet::default();
        let mut router = matchit::Router::new();
        for route in &parsed {
            let ours = routes.add(route);
            let theirs = router.insert(route.path.shape(), ());
            prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{} {:?} {:?}", route.path, ours, theirs);
        }
    }
}

fn methods() -> impl Strategy<Value = Methods> {
    let one = prop_oneof![
        Just(Method::GET),
        Just(Method::HEAD),
        Just(Method::PUT),
        Just(Method::OPTIONS),
    ];
    let only = prop::collection::btree_set(one.prop_map(|m| m.to_string()), 1..4);
    prop_oneof![
        Just(Methods::Every),
        Just(Methods::Any),
        only.prop_map(|only| Methods::Only(only.iter().map(|m| m.parse().unwrap()).collect())),
    ]
}

proptest! {
    /// The first takers tell as much as a look at each route.
    #[test]
    fn the_first_takers_stand_for_all(all in prop::collection::vec(methods(), 0..6), asked in methods()) {
        let mut takers = Takers::default();
        all.iter().enumerate().for_each(|(index, methods)| takers.add(methods, index));
        let first = |is: &dyn Fn(&Methods) -> bool| all.iter().position(is);
        prop_assert_eq!(takers.overlapping(&asked), first(&|other| other.overlap(&asked)));
        prop_assert_eq!(takers.competing(&asked), first(&|other| other.compete(&asked)));
    }
}

/// Each of these has the routes of one manifest of 256 KiB, about: equal ones, ones that differ in
/// a method only, parameters at one place, and hosts of their own beside routes that are for every
/// host.
#[test]
fn a_route_is_not_compared_with_every_other() {
    const MANY: usize = 8000;
    let hosts: Vec<HostPattern> =
        (0..MANY).map(|n| format!("h{n}.test").parse().unwrap()).collect();
    let only = |n: usize| Methods::Only(vec![format!("M{n}").parse().unwrap(), Method::GET]);
    let equal = |_| route("/a/{b}", Methods::Every);
    let methods = |n| match n % 2 {
        0 => route("/{a}", only(n)),
        _ => route("/{*a}", only(n)),
    };
    let places = |n| route(&format!("/{{a}}/{n}"), Methods::Any);
    let hosted = |n: usize| Route {
        host: n.is_multiple_of(2).then(|| hosts[n].clone()),
        ..route(&format!("/{n}"), Methods::Every)
    };
    let makes: [&dyn Fn(usize) -> Route; 4] = [&equal, &methods, &places, &hosted];
    for (which, make) in makes.into_iter().enumerate() {
        let all: Vec<Route> = (0..MANY).map(make).collect();
        LOOKS.set(0);
        let mut routes = RouteSet::under(&hosts);
        for (index, route) in all.iter().enumerate() {
            let _ = routes.add(route);
            routes.settle(index % 2 == 0);
        }
        assert!(LOOKS.get() <= 24 * MANY, "{which}: {} looks", LOOKS.get());
    }
}

#[test]
fn routes_that_are_taken_out_again_are_in_nobodys_way() {
    let hosts: [HostPattern; 1] = ["a.test".parse().unwrap()];
    let (first, second) = (route("/a", Methods::Any), route("/a", Methods::Every));
    let named = Route { host: Some(hosts[0].clone()), ..second.clone() };
    let mut routes = RouteSet::under(&hosts);
    assert_eq!(routes.add(&first), Ok(()));
    assert!(routes.add(&named).is_err(), "it is served under that host too");
    routes.settle(false);
    assert_eq!(routes.add(&named), Ok(()));
    routes.settle(true);
    assert!(routes.add(&second).is_err());
}

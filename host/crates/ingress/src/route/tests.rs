//! The router against a reference that is too simple to be wrong.

use proptest::prelude::*;

use super::*;

fn key(owner: &str, host: &str, methods: Methods, path: &str) -> RouteKey {
    RouteKey {
        owner: owner.into(),
        hosts: vec![host.parse().unwrap()],
        methods,
        path: path.parse().unwrap(),
    }
}

fn only(methods: &[&str]) -> Methods {
    Methods::Only(methods.iter().map(|m| m.parse().unwrap()).collect())
}

/// A router whose routes lead to their own places in the list.
fn router(keys: impl IntoIterator<Item = RouteKey>) -> Result<Router<usize>, Vec<Conflict>> {
    let mut builder = Router::builder();
    for (index, key) in keys.into_iter().enumerate() {
        builder.route(key, index);
    }
    builder.build()
}

fn paths(paths: &[&str]) -> Router<usize> {
    router(paths.iter().map(|path| key("o", "*", Methods::Any, path))).unwrap()
}

/// `value name=captured ...`, or the other variants in words.
fn ask(router: &Router<usize>, host: &str, method: &str, path: &str) -> String {
    match router.find(host, &method.parse().unwrap(), path) {
        RouteLookup::Match(Match { route, params }) => {
            let mut text = route.value().to_string();
            for (name, value) in route.params(&params) {
                text += &format!(" {name}={value}");
            }
            text
        }
        RouteLookup::NoMethod { allow } => format!("allow {allow}"),
        RouteLookup::None => "none".to_owned(),
        RouteLookup::BadPath(bad) => format!("bad: {bad}"),
    }
}

#[test]
fn literals_win_over_parameters_over_all_the_rest() {
    let router = paths(&[
        "/",
        "/users/{id}",
        "/users/me",
        "/users/{id}/posts",
        "/{*rest}",
        "/a/{x}/c",
        "/a/b/d",
    ]);
    for (path, found) in [
        ("/", "0"),
        ("/users/7", "1 id=7"),
        ("/users/me", "2"),
        ("/users/me/posts", "3 id=me"),
        ("/users/", "4 rest=users/"),
        ("/users/7/other", "4 rest=users/7/other"),
        ("/a/b/c", "5 x=b"),
        ("/a/b/d", "6"),
        ("/a/b/e", "4 rest=a/b/e"),
        ("//", "4 rest=/"),
        ("/users//posts", "4 rest=users//posts"),
    ] {
        assert_eq!(ask(&router, "h", "GET", path), found, "{path}");
    }
}

#[test]
fn nothing_is_guessed_about_slashes_and_case() {
    let router = paths(&["/users", "/files/{*rest}", "/a/{x}/b", "/Dir/"]);
    for path in ["/users/", "/Users", "/files", "/a//b", "/dir/", "/Dir", "/", "//users"] {
        assert_eq!(ask(&router, "h", "GET", path), "none", "{path}");
    }
}

#[test]
fn all_the_rest_may_be_nothing() {
    let router = router([
        key("o", "*", Methods::Any, "/{*path}"),
        key("o", "*", Methods::Any, "/files/{dir}/{*rest}"),
        key("o", "*", only(&["GET"]), "/files/own/"),
        key("o", "*", only(&["POST"]), "/put/{*rest}"),
        key("o", "*", Methods::Any, "/put/"),
    ])
    .unwrap();
    for (method, path, found) in [
        ("GET", "/", "0 path="),
        ("GET", "//", "0 path=/"),
        ("GET", "/files/a/", "1 dir=a rest="),
        ("GET", "/files/a/b", "1 dir=a rest=b"),
        ("GET", "/files/a", "0 path=files/a"),
        ("GET", "/files//", "0 path=files//"),
        ("GET", "/files/own/", "2"),
        ("PUT", "/files/own/", "1 dir=own rest="),
        ("POST", "/put/", "4"),
        ("POST", "/put/x", "3 rest=x"),
    ] {
        assert_eq!(ask(&router, "h", method, path), found, "{method} {path}");
    }
    let router = paths(&["/a/{*rest}"]);
    assert_eq!(router.allow("h", "/a/"), router.allow("h", "/a/b"));
    assert_eq!(router.allow("h", "/a"), None);
}

#[test]
fn parameters_are_decoded_once_and_never_split() {
    let router = paths(&["/u/{id}", "/f/{*rest}", "/café/{x}", "/@me"]);
    for (path, found) in [
        ("/u/a%2Fb", "0 id=a/b"),
        ("/u/%252F", "0 id=%2F"),
        ("/u/%C3%A9+", "0 id=é+"),
        ("/u/é", "0 id=é"),
        ("/%75/1", "0 id=1"),
        ("/f/a%20b/c", "1 rest=a b/c"),
        ("/caf%c3%a9/1", "2 x=1"),
        ("/%40me", "3"),
        (
            "/u/%",
            "bad: the path has a percent sign at byte 3 that is not followed by two hexadecimal digits; a percent sign itself is written %25",
        ),
        (
            "/u/%FF",
            "bad: the path's parameter \"id\" is not UTF-8 once its percent-encoding is decoded",
        ),
        (
            "/f/x/..%2Fy",
            "bad: the path has a segment \".\" or \"..\"; send the path that they lead to instead",
        ),
        (
            "/u/../f/x",
            "bad: the path has a segment \".\" or \"..\"; send the path that they lead to instead",
        ),
        ("*", "bad: the request target is not a path: it has to begin with a slash"),
    ] {
        assert_eq!(ask(&router, "h", "GET", path), found, "{path}");
    }
}

#[test]
fn methods_are_matched_before_paths_are_ranked() {
    let router = router([
        key("o", "*", only(&["GET"]), "/users/{id}"),
        key("o", "*", only(&["POST", "PURGE"]), "/users/{name}"),
        key("o", "*", only(&["DELETE"]), "/users/me"),
        key("o", "*", Methods::Any, "/any"),
        key("o", "*", only(&["GET"]), "/get"),
        key("o", "*", only(&["HEAD"]), "/get"),
        key("o", "*", Methods::Every, "/every"),
        key("o", "*", only(&["OPTIONS"]), "/options"),
        key("o", "*", Methods::Any, "/both"),
        key("o", "*", only(&["OPTIONS"]), "/both"),
    ])
    .unwrap();
    for (method, path, found) in [
        ("GET", "/users/me", "0 id=me"),
        ("HEAD", "/users/me", "0 id=me"),
        ("POST", "/users/me", "1 name=me"),
        ("PURGE", "/users/7", "1 name=7"),
        ("DELETE", "/users/me", "2"),
        ("DELETE", "/users/7", "allow GET, HEAD, POST, PURGE, OPTIONS"),
        ("PUT", "/users/me", "allow DELETE, GET, HEAD, POST, PURGE, OPTIONS"),
        ("OPTIONS", "/users/7", "allow GET, HEAD, POST, PURGE, OPTIONS"),
        ("GET", "/get", "4"),
        ("HEAD", "/get", "5"),
        ("PATCH", "/any", "3"),
        ("PROPFIND", "/any", "3"),
        ("OPTIONS", "/any", "allow DELETE, GET, HEAD, PATCH, POST, PURGE, PUT, OPTIONS"),
        ("OPTIONS", "/every", "6"),
        ("OPTIONS", "/options", "7"),
        ("GET", "/options", "allow OPTIONS"),
        ("OPTIONS", "/both", "9"),
        ("GET", "/both", "8"),
        ("GET", "/nowhere", "none"),
    ] {
        assert_eq!(ask(&router, "h", method, path), found, "{method} {path}");
    }
}

#[test]
fn the_narrowest_host_is_asked_first_and_owners_do_not_mix() {
    let router = router([
        key("a", "*", Methods::Any, "/{*rest}"),
        key("a", "admin.a.com", Methods::Any, "/admin"),
        key("b", "*.b.com", Methods::Any, "/{*rest}"),
        key("c", "c.b.com", Methods::Any, "/c"),
        key("b", "b.b.com", only(&["GET"]), "/b"),
        key("b", "*.x.b.com", Methods::Any, "/x"),
    ])
    .unwrap();
    for (host, method, path, found) in [
        ("admin.a.com", "GET", "/admin", "1"),
        ("ADMIN.a.com:8080", "GET", "/admin", "1"),
        ("admin.a.com", "GET", "/other", "0 rest=other"),
        ("elsewhere", "GET", "/admin", "0 rest=admin"),
        ("", "GET", "/x", "0 rest=x"),
        ("c.b.com", "GET", "/c", "3"),
        ("c.b.com", "GET", "/other", "none"),
        ("b.b.com", "GET", "/b", "4"),
        ("b.b.com", "POST", "/b", "2 rest=b"),
        ("b.b.com", "GET", "/other", "2 rest=other"),
        ("y.x.b.com", "GET", "/x", "5"),
        ("y.x.b.com", "GET", "/y", "2 rest=y"),
        ("x.b.com", "GET", "/x", "2 rest=x"),
        ("deep.down.b.com", "GET", "/d", "2 rest=d"),
        ("b.com", "GET", "/d", "0 rest=d"),
    ] {
        assert_eq!(ask(&router, host, method, path), found, "{host} {method} {path}");
    }
}

/// The names of owners, as pairs of an owner and a pattern.
fn owners<'a>(names: impl IntoIterator<Item = (&'a str, &'a str)>) -> Arc<HostOwners> {
    let parse = |(owner, host): (&str, &str)| (owner.parse().unwrap(), [host.parse().unwrap()]);
    let names: Vec<_> = names.into_iter().map(parse).collect();
    Arc::new(HostOwners::new(names.iter().map(|(owner, hosts)| (owner, &hosts[..]))))
}

fn owned(owners: Arc<HostOwners>, keys: impl IntoIterator<Item = RouteKey>) -> Router<usize> {
    let mut builder = Router::builder();
    builder.owned_by(owners);
    for (index, key) in keys.into_iter().enumerate() {
        builder.route(key, index);
    }
    builder.assemble()
}

#[test]
fn a_name_is_answered_by_its_owner_or_by_none() {
    let names = owners([
        ("wide", "*"),
        ("a", "*.a.test"),
        ("b", "login.a.test"),
        ("b", "*.deep.a.test"),
        ("c", "www.c.test"),
        ("c", "login.c.test"),
        ("d", "[2001:db8::a]"),
    ]);
    let routes = [
        key("wide", "*", Methods::Any, "/{*rest}"),
        key("a", "*.a.test", Methods::Any, "/{*rest}"),
        key("c", "www.c.test", Methods::Any, "/{*rest}"),
        // A route of a tenant that has lost the name is nobody's.
        key("a", "login.a.test", Methods::Any, "/stale"),
    ];
    let router = owned(names, routes);
    for (host, found) in [
        ("x.a.test", "1 rest=stale"),
        ("x.login.a.test", "1 rest=stale"),
        ("deep.a.test", "1 rest=stale"),
        ("login.a.test", "none"),
        ("LOGIN.a.TEST", "none"),
        ("login.a.test.", "none"),
        ("login.a.test:8080", "none"),
        ("login.a.test.:", "none"),
        ("x.deep.a.test", "none"),
        ("y.x.deep.a.test", "none"),
        ("www.c.test", "2 rest=stale"),
        ("login.c.test", "none"),
        ("[2001:db8::a]", "none"),
        ("[2001:DB8:0:0::A]:80", "none"),
        ("[2001:db8::b]", "0 rest=stale"),
        ("elsewhere", "0 rest=stale"),
        ("a.test", "0 rest=stale"),
        ("", "0 rest=stale"),
    ] {
        assert_eq!(ask(&router, host, "GET", "/stale"), found, "{host}");
        assert_eq!(router.allow(host, "/stale").is_none(), found == "none", "{host}");
    }
}

#[test]
fn a_name_that_is_given_to_no_one_is_answered_by_no_one() {
    let router = owned(owners([("a", "a.test")]), [key("a", "a.test", Methods::Any, "/")]);
    assert_eq!(ask(&router, "a.test", "GET", "/"), "0");
    for host in ["b.test", "x.a.test", "test", ""] {
        assert_eq!(ask(&router, host, "GET", "/"), "none", "{host}");
    }
}

#[test]
fn conflicts_name_both_routes() {
    let conflicts = |keys: Vec<RouteKey>| -> Vec<(usize, usize, String, bool)> {
        let conflicts = router(keys).unwrap_err().into_iter();
        conflicts.map(|c| (c.with, c.route, c.host.to_string(), c.same)).collect()
    };
    let any = |path| key("o", "*", Methods::Any, path);
    assert_eq!(
        conflicts(vec![any("/users/{id}"), any("/other"), any("/users/{name}")]),
        [(0, 2, "*".to_owned(), true)]
    );
    let rest = key("o", "a.com", only(&["GET"]), "/a/{*rest}");
    assert_eq!(
        conflicts(vec![rest.clone(), key("o", "a.com", only(&["PUT", "GET"]), "/a/{id}")]),
        [(0, 1, "a.com".to_owned(), false)]
    );
    assert!(router([rest, key("o", "a.com", only(&["PUT"]), "/a/{id}")]).is_ok());
    // Routes of any owner, in any spelling.
    assert_eq!(conflicts(vec![any("/x"), key("p", "*", Methods::Every, "/x")]).len(), 1);
    assert_eq!(conflicts(vec![any("/%61"), any("/a")]).len(), 1);
    assert_eq!(conflicts(vec![any("/x"), key("o", "*", only(&["GET"]), "/x")]).len(), 1);
    assert!(router([any("/{a}/x"), any("/{b}/y"), any("/"), any("/a/{*b}")]).is_ok());
    assert!(router([any("/x"), key("o", "a.com", Methods::Any, "/x")]).is_ok());
}

/// The order of two patterns that match the same path: the first segment in which they differ
/// decides.
fn rank(pattern: &str) -> Vec<u8> {
    let kind = |segment: &str| match segment {
        s if s.starts_with("{*") => 2,
        s if s.starts_with('{') => 1,
        _ => 0,
    };
    pattern.split('/').skip(1).map(kind).collect()
}

fn reference_matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').skip(1).collect();
    let path: Vec<&str> = path.split('/').skip(1).collect();
    if pattern.last().is_some_and(|segment| segment.starts_with("{*")) {
        let before = pattern.len() - 1;
        path.len() >= pattern.len() && (0..before).all(|i| segment_matches(pattern[i], path[i]))
    } else {
        path.len() == pattern.len() && (0..path.len()).all(|i| segment_matches(pattern[i], path[i]))
    }
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    if pattern.starts_with('{') { !segment.is_empty() } else { pattern == segment }
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let segment = prop_oneof![3 => Just("a"), 2 => Just("b"), 2 => Just("ab"), 4 => Just("{}")];
    let end = prop_oneof![6 => Just(None), 2 => Just(Some("{*w}")), 1 => Just(Some(""))];
    let pattern = (prop::collection::vec(segment, 0..4), end).prop_map(|(mut segments, end)| {
        segments.extend(end);
        if segments.is_empty() {
            segments.push("");
        }
        let numbered = segments.iter().enumerate();
        numbered
            .map(|(index, text)| format!("/{}", text.replace("{}", &format!("{{p{index}}}"))))
            .collect::<String>()
    });
    prop::collection::vec(pattern, 1..12)
}

fn request_paths() -> impl Strategy<Value = Vec<String>> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("c"), Just(""), Just("abc")];
    let path = prop::collection::vec(segment, 1..5)
        .prop_map(|segments| format!("/{}", segments.join("/")));
    prop::collection::vec(path, 1..12)
}

/// Names of one to three labels, as many as make tenants' patterns meet.
fn names() -> impl Strategy<Value = String> {
    let label = prop_oneof![Just("a"), Just("b"), Just("c")];
    prop::collection::vec(label, 1..4).prop_map(|labels| labels.join("."))
}

fn host_patterns() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => names(),
        4 => names().prop_map(|name| format!("*.{name}")),
        1 => Just("*".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_one_answers_for_another(
        given in prop::collection::btree_map(host_patterns(), "[p-s]", 1..10),
        routes in prop::collection::vec((host_patterns(), "[p-s]"), 0..10),
        hosts in prop::collection::vec(names(), 1..10),
    ) {
        let names = owners(given.iter().map(|(host, owner)| (owner.as_str(), host.as_str())));
        let keys = routes.iter().map(|(host, owner)| key(owner, host, Methods::Any, "/{*rest}"));
        let router = owned(names, keys);
        for host in hosts {
            let covers = |pattern: &&String| pattern.parse::<HostPattern>().unwrap().matches(&host);
            let narrowest = given.keys().filter(covers).min_by_key(|pattern| pattern.parse::<HostPattern>().unwrap().narrowness());
            let owner = narrowest.map(|pattern| &given[pattern]);
            let serves = |(pattern, of): &(String, String)| covers(&pattern) && Some(of) == owner;
            match router.find(&host, &Method::GET, "/x") {
                RouteLookup::Match(found) => {
                    let of = &routes[*found.route.value()].1;
                    prop_assert!(owner.is_none() || Some(of) == owner, "{} of {:?} is answered by {}", host, owner, of);
                }
                RouteLookup::None => prop_assert!(!routes.iter().any(serves), "{} is not answered by {:?}", host, owner),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn agrees_with_the_reference(patterns in patterns(), paths in request_paths()) {
        // The routes that the router refuses to hold together are left out, one at a time.
        let mut kept: Vec<String> = Vec::new();
        for pattern in patterns {
            let mut tried = kept.clone();
            tried.push(pattern);
            if router(tried.iter().map(|path| key("o", "*", Methods::Any, path))).is_ok() {
                kept = tried;
            }
        }
        let router = router(kept.iter().map(|path| key("o", "*", Methods::Any, path))).unwrap();
        for path in paths {
            let expected = kept.iter().filter(|pattern| reference_matches(pattern, &path)).min_by_key(|p| rank(p));
            let found = match router.find("h", &Method::GET, &path) {
                RouteLookup::Match(found) => Some(found.route.pattern().to_owned()),
                RouteLookup::None => None,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(found.as_ref(), expected, "{} in {:?}", path, kept);
        }
    }

    #[test]
    fn refused_routes_are_really_ambiguous(one in patterns(), other in patterns()) {
        let (one, other) = (&one[0], &other[0]);
        let refused = router([one, other].map(|path| key("o", "*", Methods::Any, path))).is_err();
        let (ranks, wild) = ((rank(one), rank(other)), |pattern: &str| pattern.contains("{*"));
        let differ = ranks.0.iter().zip(&ranks.1).position(|(a, b)| a != b);
        let literals = |pattern: &str, upto: usize| -> Vec<String> {
            pattern.split('/').skip(1).take(upto).filter(|s| !s.starts_with('{')).map(str::to_owned).collect()
        };
        let upto = differ.unwrap_or(ranks.0.len().max(ranks.1.len()));
        let same_before = literals(one, upto) == literals(other, upto);
        let expected = same_before && match differ {
            None => ranks.0.len() == ranks.1.len(),
            Some(at) => ranks.0[at] + ranks.1[at] == 3 && (wild(one) || wild(other)),
        };
        prop_assert_eq!(refused, expected, "{} {}", one, other);
    }

    #[test]
    fn nothing_panics(host in ".{0,40}", path in ".{0,40}", slashed in "/[a-z%./{}é\u{0}-\u{20}0-9A-F]{0,30}") {
        let router = paths(&["/", "/{a}/b", "/{a}/{*rest}", "/x/{y}"]);
        for path in [path, slashed] {
            let _ = router.find(&host, &Method::GET, &path);
        }
    }

    #[test]
    fn any_text_survives_as_a_parameter(value in "[^/]{1,20}") {
        prop_assume!(value != "." && value != "..");
        let router = paths(&["/u/{id}"]);
        let encoded: String =
            percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC).collect();
        prop_assert_eq!(ask(&router, "h", "GET", &format!("/u/{encoded}")), format!("0 id={value}"));
    }
}

//! The router against a reference that is too simple to be wrong.

use proptest::prelude::*;

use super::*;

fn key(owner: &str, host: &str, methods: Methods, path: &str) -> RouteKey {
    RouteKey {
        owner: owner.into(),
        hosts: vec![host.parse().unwrap()],
        methods,
        path: path.to_owned(),
    }
}

fn these(methods: &[&str]) -> Methods {
    Methods::These(methods.iter().map(|m| m.parse().unwrap()).collect())
}

/// A router whose routes lead to their own places in the list.
fn router(keys: impl IntoIterator<Item = RouteKey>) -> Result<Router<usize>, Vec<Conflict>> {
    let mut builder = Router::builder();
    for (index, key) in keys.into_iter().enumerate() {
        builder.route(key, index).unwrap();
    }
    builder.build()
}

fn paths(paths: &[&str]) -> Router<usize> {
    router(paths.iter().map(|path| key("o", "*", Methods::Any, path))).unwrap()
}

/// `value name=captured ...`, or the other variants in words.
fn ask(router: &Router<usize>, host: &str, method: &str, path: &str) -> String {
    match router.find(host, &method.parse().unwrap(), path) {
        Found::Match(Match { route, params }) => {
            let mut text = route.value().to_string();
            for (name, value) in route.params(&params) {
                text += &format!(" {name}={value}");
            }
            text
        }
        Found::NoMethod { allow } => format!("allow {allow}"),
        Found::None => "none".to_owned(),
        Found::BadPath(bad) => format!("bad: {bad}"),
    }
}

#[test]
fn literals_win_over_parameters_over_wildcards() {
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
    ] {
        assert_eq!(ask(&router, "h", "GET", path), found, "{path}");
    }
}

#[test]
fn nothing_is_guessed_about_slashes_and_case() {
    let router = paths(&["/users", "/files/{*rest}", "/a/{x}/b", "/Dir/"]);
    for path in ["/users/", "/Users", "/files/", "/files", "/a//b", "/dir/", "/Dir", "/", "//users"]
    {
        assert_eq!(ask(&router, "h", "GET", path), "none", "{path}");
    }
}

#[test]
fn parameters_are_decoded_once_and_never_split() {
    let router = paths(&["/u/{id}", "/f/{*rest}", "/café/{x}"]);
    for (path, found) in [
        ("/u/a%2Fb", "0 id=a/b"),
        ("/u/%252F", "0 id=%2F"),
        ("/u/%C3%A9+", "0 id=é+"),
        ("/u/é", "0 id=é"),
        ("/%75/1", "0 id=1"),
        ("/f/a%20b/c", "1 rest=a b/c"),
        ("/caf%c3%a9/1", "2 x=1"),
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
        key("o", "*", these(&["GET"]), "/users/{id}"),
        key("o", "*", these(&["POST", "PURGE"]), "/users/{name}"),
        key("o", "*", these(&["DELETE"]), "/users/me"),
        key("o", "*", Methods::Any, "/any"),
        key("o", "*", these(&["GET"]), "/any"),
        key("o", "*", these(&["HEAD"]), "/any"),
        key("o", "*", Methods::Every, "/every"),
        key("o", "*", these(&["OPTIONS"]), "/options"),
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
        ("GET", "/any", "4"),
        ("HEAD", "/any", "5"),
        ("PATCH", "/any", "3"),
        ("PROPFIND", "/any", "3"),
        ("OPTIONS", "/any", "allow DELETE, GET, HEAD, PATCH, POST, PURGE, PUT, OPTIONS"),
        ("OPTIONS", "/every", "6"),
        ("OPTIONS", "/options", "7"),
        ("GET", "/options", "allow OPTIONS"),
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
        key("b", "b.b.com", these(&["GET"]), "/b"),
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

#[test]
fn conflicts_name_both_routes() {
    let texts = |keys: Vec<RouteKey>| -> Vec<String> {
        router(keys).unwrap_err().iter().map(Conflict::to_string).collect()
    };
    let any = |path| key("o", "*", Methods::Any, path);
    assert_eq!(
        texts(vec![any("/users/{id}"), any("/other"), any("/users/{name}")]),
        [
            "the routes \"/users/{id}\" and \"/users/{name}\" match the same paths, for all methods on any host: give one of them another path, method or host"
        ]
    );
    assert_eq!(
        texts(vec![
            key("o", "a.com", these(&["GET"]), "/a/{*rest}"),
            key("o", "a.com", these(&["PUT", "GET"]), "/a/{id}"),
        ]),
        [
            "the routes \"/a/{*rest}\" and \"/a/{id}\" have a parameter and a wildcard in the same place, for GET on a.com: put a literal segment before one of them"
        ]
    );
    let conflicts = router([any("/x"), key("p", "*", Methods::Every, "/x")]).unwrap_err();
    assert_eq!((conflicts.len(), conflicts[0].with, conflicts[0].route), (1, 0, 1));
    assert!(router([any("/%61"), any("/a")]).is_err());
    assert!(router([any("/{a}/x"), any("/{b}/y"), any("/"), any("/a/{*b}")]).is_ok());
    assert!(router([any("/x"), key("o", "*", these(&["GET"]), "/x")]).is_ok());
    assert!(router([any("/x"), key("o", "a.com", Methods::Any, "/x")]).is_ok());
}

#[test]
fn bad_routes_are_refused_with_a_sentence() {
    let refuse = |methods: Methods, path: &str| {
        let mut builder = Router::builder();
        builder
            .route(key("o", "*", methods, path), ())
            .err()
            .map(|error| error.to_string())
            .unwrap()
    };
    assert_eq!(
        refuse(Methods::Any, "users"),
        "\"users\" is not a route's path: it has to begin with a slash, as in \"/users/{id}\""
    );
    assert_eq!(
        refuse(these(&[]), "/"),
        "the route \"/\" names no method; leave `methods` out to serve all of them"
    );
    assert_eq!(
        refuse(these(&["CONNECT"]), "/"),
        "the route \"/\" names CONNECT, which asks for a tunnel and never has a path"
    );
}

/// Which of two patterns that match the same path is taken: the first segment in which they differ decides.
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
    let wildcard = pattern.last().is_some_and(|segment| segment.starts_with("{*"));
    if wildcard {
        let before = pattern.len() - 1;
        path.len() >= pattern.len()
            && !path[before..].join("/").is_empty()
            && (0..before).all(|i| segment_matches(pattern[i], path[i]))
    } else {
        path.len() == pattern.len() && (0..path.len()).all(|i| segment_matches(pattern[i], path[i]))
    }
}

fn segment_matches(pattern: &str, segment: &str) -> bool {
    if pattern.starts_with('{') { !segment.is_empty() } else { pattern == segment }
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let segment = prop_oneof![3 => Just("a"), 2 => Just("b"), 2 => Just("ab"), 1 => Just(""), 4 => Just("{}")];
    let pattern = (prop::collection::vec(segment, 1..4), prop::bool::weighted(0.2)).prop_map(
        |(mut segments, wildcard)| {
            if wildcard {
                segments.push("{*w}");
            }
            let mut text = String::new();
            for (index, segment) in segments.iter().enumerate() {
                text += "/";
                text += &segment.replace("{}", &format!("{{p{index}}}"));
            }
            text
        },
    );
    prop::collection::vec(pattern, 1..12)
}

fn request_paths() -> impl Strategy<Value = Vec<String>> {
    let segment = prop_oneof![Just("a"), Just("b"), Just("ab"), Just("c"), Just(""), Just("abc")];
    let path = prop::collection::vec(segment, 1..5)
        .prop_map(|segments| format!("/{}", segments.join("/")));
    prop::collection::vec(path, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_the_reference(patterns in patterns(), paths in request_paths()) {
        // What the router refuses to hold together is left out, one route at a time.
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
                Found::Match(found) => Some(found.route.pattern().to_owned()),
                Found::None => None,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(found.as_ref(), expected, "{} in {:?}", path, kept);
        }
    }

    #[test]
    fn what_is_refused_is_really_ambiguous(one in patterns(), other in patterns()) {
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
        let _ = host.parse::<HostPattern>();
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

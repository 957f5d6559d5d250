//! Sources, environment, routes, grants and CORS: the text of each finding.

#![allow(clippy::too_many_lines, reason = "a test is as long as the text that it compares")]

use super::super::testing::report;

#[test]
fn more_than_one_source() {
    let findings = report(
        r#"app = "shop"

[functions.a]
crate = "."
build = { command = "make", output = "a.wasm" }
"#,
    );
    assert_eq!(
        findings,
        r#"error: function `a` has both `crate` and `build`, and its code comes from one place
 --> lacewing.toml:5:9
  |
5 | build = { command = "make", output = "a.wasm" }
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: remove one of them
note: `crate` is here
 --> lacewing.toml:4:9
  |
4 | crate = "."
  |         ^^^"#
    );
}

#[test]
fn sources_that_are_not_there() {
    let findings = report(
        r#"app = "shop"
functions.a.crate = "web"
functions.b.crate = "src"
functions.c.component = "c.wasm"
functions.d.component = "src"
functions.e.build = { command = "make", output = "e.wasm", dir = "web" }
functions.f.build = { command = " ", output = "f.wasm" }
functions.g.build = { command = "make" }
functions.h.component = ""
"#,
    );
    assert_eq!(
        findings,
        r#"error: there is no directory `ROOT/web`
 --> lacewing.toml:2:21
  |
2 | functions.a.crate = "web"
  |                     ^^^^^
  = help: `crate` names a package's directory, relative to the manifest

error: `ROOT/src` has no Cargo.toml, so it is not a Rust package
 --> lacewing.toml:3:21
  |
3 | functions.b.crate = "src"
  |                     ^^^^^
  = help: `crate` names a package's directory, relative to the manifest

error: there is no file `ROOT/c.wasm`
 --> lacewing.toml:4:25
  |
4 | functions.c.component = "c.wasm"
  |                         ^^^^^^^^
  = help: `component` names a file that is there, relative to the manifest; for one that a command makes, write `build = { command = "...", output = "..." }`

error: `ROOT/src` is a directory, and a component was expected
 --> lacewing.toml:5:25
  |
5 | functions.d.component = "src"
  |                         ^^^^^
  = help: `component` names a file that is there, relative to the manifest; for one that a command makes, write `build = { command = "...", output = "..." }`

error: there is no directory `ROOT/web`
 --> lacewing.toml:6:66
  |
6 | functions.e.build = { command = "make", output = "e.wasm", dir = "web" }
  |                                                                  ^^^^^

error: `command` takes a command for the shell
 --> lacewing.toml:7:33
  |
7 | functions.f.build = { command = " ", output = "f.wasm" }
  |                                 ^^^

error: `build` lacks `output`
 --> lacewing.toml:8:21
  |
8 | functions.g.build = { command = "make" }
  |                     ^^^^^^^^^^^^^^^^^^^^

error: the path is empty
 --> lacewing.toml:9:25
  |
9 | functions.h.component = ""
  |                         ^^"#
    );
}

#[test]
fn wrong_environment() {
    let findings = report(
        r#"app = "shop"

[functions.a.env]
"" = "x"
"A=B" = "x"
"A\u0000" = "x"
VALUE = "a\u0000b"
"#,
    );
    assert_eq!(
        findings,
        r#"error: the name of an environment variable is empty
 --> lacewing.toml:4:1
  |
4 | "" = "x"
  | ^^

error: the name of an environment variable cannot hold `=`
 --> lacewing.toml:5:1
  |
5 | "A=B" = "x"
  | ^^^^^

error: the name of an environment variable cannot hold NUL
 --> lacewing.toml:6:1
  |
6 | "A\u0000" = "x"
  | ^^^^^^^^^

error: the value of an environment variable cannot hold NUL
 --> lacewing.toml:7:9
  |
7 | VALUE = "a\u0000b"
  |         ^^^^^^^^^^"#
    );
}

#[test]
fn a_duplicate_route() {
    let findings = report(
        r#"app = "shop"

[functions.list]
routes = ["/items/{id}"]

[functions.show]
routes = ["/", { path = "/items/{item}", methods = ["GET"] }]
"#,
    );
    assert_eq!(
        findings,
        r#"error: route `GET /items/{item}` is taken by function `list`
 --> lacewing.toml:7:25
  |
7 | routes = ["/", { path = "/items/{item}", methods = ["GET"] }]
  |                         ^^^^^^^^^^^^^^^
  = help: a route without `methods` takes every method
note: `/items/{id}` matches the same paths
 --> lacewing.toml:4:11
  |
4 | routes = ["/items/{id}"]
  |           ^^^^^^^^^^^^^"#
    );
}

#[test]
fn a_duplicate_route_with_methods() {
    let findings = report(
        r#"app = "shop"
functions.a.routes = [{ path = "/x", methods = ["GET", "POST"] }]
functions.b.routes = [{ path = "/x", methods = ["PUT", "POST"] }]
functions.c.routes = [{ path = "/x", methods = ["DELETE"] }]
"#,
    );
    assert_eq!(
        findings,
        r#"error: route `PUT,POST /x` is taken by function `a`
 --> lacewing.toml:3:32
  |
3 | functions.b.routes = [{ path = "/x", methods = ["PUT", "POST"] }]
  |                                ^^^^
note: the route is here
 --> lacewing.toml:2:32
  |
2 | functions.a.routes = [{ path = "/x", methods = ["GET", "POST"] }]
  |                                ^^^^"#
    );
}

#[test]
fn an_ambiguous_route() {
    let findings = report(
        r#"app = "shop"

[functions.page]
routes = ["/pages/{name}"]

[functions.files]
routes = ["/pages/{*rest}"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: route `/pages/{*rest}` and `/pages/{name}` of function `page` match the same paths
 --> lacewing.toml:7:11
  |
7 | routes = ["/pages/{*rest}"]
  |           ^^^^^^^^^^^^^^^^
  = help: a parameter for one segment and one for all the rest cannot stand at the same place: put a literal segment before one of them
note: the other route is here
 --> lacewing.toml:4:11
  |
4 | routes = ["/pages/{name}"]
  |           ^^^^^^^^^^^^^^^"#
    );
}

#[test]
fn wrong_routes() {
    let findings = report(
        r#"app = "shop"

[functions.a]
routes = [
    "items",
    "/items/:id",
    "/items/*",
    "/items?page=1",
    "/a//b",
    "/a/../b",
    "/{id}/{id}",
    "/{*rest}/edit",
    "/img-{name}.png",
    "/{}",
    "/100%",
    { methods = ["GET"] },
    { path = "/m1", methods = [] },
    { path = "/m2", methods = ["get", "FETCH", "POTS", "a b", "CONNECT", "*"] },
    { path = "/h1", host = "*" },
    { path = "/h2", host = "https://example.com" },
]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "items" is not a route: it does not begin with a slash
 --> lacewing.toml:5:5
  |
5 |     "items",
  |     ^^^^^^^
  = help: write `/items`

error: "/items/:id" is not a route: `:id` is a literal here
 --> lacewing.toml:6:5
  |
6 |     "/items/:id",
  |     ^^^^^^^^^^^^
  = help: write a parameter as `{id}`

error: "/items/*" is not a route: `*` is allowed only inside a parameter
 --> lacewing.toml:7:5
  |
7 |     "/items/*",
  |     ^^^^^^^^^^
  = help: write `{*rest}` for all the rest of the path, `{name}` for one segment, `%2A` for a literal star

error: "/items?page=1" is not a route: a route is a path without query or fragment
 --> lacewing.toml:8:5
  |
8 |     "/items?page=1",
  |     ^^^^^^^^^^^^^^^
  = help: write `/items`; a function sees the query of every request

error: "/a//b" is not a route: it has an empty segment
 --> lacewing.toml:9:5
  |
9 |     "/a//b",
  |     ^^^^^^^
  = help: write one slash between segments

error: "/a/../b" is not a route: clients resolve `.` and `..` before they send a request
  --> lacewing.toml:10:5
   |
10 |     "/a/../b",
   |     ^^^^^^^^^

error: "/{id}/{id}" is not a route: it has two parameters named `id`
  --> lacewing.toml:11:5
   |
11 |     "/{id}/{id}",
   |     ^^^^^^^^^^^^

error: "/{*rest}/edit" is not a route: `{*rest}` takes all the rest, so that nothing can follow it
  --> lacewing.toml:12:5
   |
12 |     "/{*rest}/edit",
   |     ^^^^^^^^^^^^^^^

error: "/img-{name}.png" is not a route: a parameter, as in `{id}`, takes a whole segment
  --> lacewing.toml:13:5
   |
13 |     "/img-{name}.png",
   |     ^^^^^^^^^^^^^^^^^
   = help: write a literal brace as `%7B` or `%7D`

error: "/{}" is not a route: a parameter's name takes ASCII letters, digits and `_`, and "" is none
  --> lacewing.toml:14:5
   |
14 |     "/{}",
   |     ^^^^^
   = help: write it as in `{id}`, or `{*rest}` for all the rest

error: "/100%" is not a route: a percent sign is not followed by two hexadecimal digits
  --> lacewing.toml:15:5
   |
15 |     "/100%",
   |     ^^^^^^^
   = help: write a literal percent sign as `%25`

error: an item of `routes` lacks `path`
  --> lacewing.toml:16:5
   |
16 |     { methods = ["GET"] },
   |     ^^^^^^^^^^^^^^^^^^^^^

error: `methods` is empty, so the route would match no request
  --> lacewing.toml:17:31
   |
17 |     { path = "/m1", methods = [] },
   |                               ^^
   = help: leave `methods` out for every method

error: "get" is not a method: methods are in upper case
  --> lacewing.toml:18:32
   |
18 |     { path = "/m2", methods = ["get", "FETCH", "POTS", "a b", "CONNECT", "*"] },
   |                                ^^^^^
   = help: write `GET`

warning: `FETCH` is not a method that HTTP defines
  --> lacewing.toml:18:39
   |
18 |     { path = "/m2", methods = ["get", "FETCH", "POTS", "a b", "CONNECT", "*"] },
   |                                       ^^^^^^^

warning: `POTS` is not a method that HTTP defines
  --> lacewing.toml:18:48
   |
18 |     { path = "/m2", methods = ["get", "FETCH", "POTS", "a b", "CONNECT", "*"] },
   |                                                ^^^^^^
   = help: did you mean `POST`?

error: "a b" is not a method
  --> lacewing.toml:18:56
   |
18 |     { path = "/m2", methods = ["get", "FETCH", "POTS", "a b", "CONNECT", "*"] },
   |                                                        ^^^^^

error: `CONNECT` asks for a tunnel, and no function can answer it
  --> lacewing.toml:18:63
   |
18 |     { path = "/m2", methods = ["get", "FETCH", "POTS", "a b", "CONNECT", "*"] },
   |                                                               ^^^^^^^^^

error: `*` is not a method
  --> lacewing.toml:18:74
   |
18 |     { path = "/m2", methods = ["get", "FETCH", "POTS", "a b", "CONNECT", "*"] },
   |                                                                          ^^^
   = help: leave `methods` out of a route for every method; write them out for CORS

error: `host` takes a host name, not `*`
  --> lacewing.toml:19:28
   |
19 |     { path = "/h1", host = "*" },
   |                            ^^^
   = help: leave `host` out for every host name of the tenant

error: "https://example.com" is not a host name: leave the scheme out
  --> lacewing.toml:20:28
   |
20 |     { path = "/h2", host = "https://example.com" },
   |                            ^^^^^^^^^^^^^^^^^^^^^"#
    );
}

#[test]
fn wrong_grants() {
    let findings = report(
        r#"app = "shop"

[functions.a.grants]
http = [
    "api.example.com",
    "ftp://example.com",
    "https://user:secret@example.com",
    "https://example.com/v1/items",
    "https://example.com:99999",
    "https://exa mple.com",
    "https://a.*.com",
]
networks = ["10.1.0.0/33", "10.1.2.3", "lan"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "api.example.com" is not an HTTP grant: it does not say the scheme
 --> lacewing.toml:5:5
  |
5 |     "api.example.com",
  |     ^^^^^^^^^^^^^^^^^
  = help: write `https://api.example.com`, or `*://api.example.com` for http as well

error: "ftp://example.com" is not an HTTP grant: its scheme is `ftp`, and only `http`, `https` and `*` (both) are known
 --> lacewing.toml:6:5
  |
6 |     "ftp://example.com",
  |     ^^^^^^^^^^^^^^^^^^^

error: an HTTP grant takes no user name or password: it names a host, not an account
 --> lacewing.toml:7:5
  |
7 |     "https://user:secret@example.com",
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: pass the credentials to the function in its environment, and let it send them

error: "https://example.com/v1/items" is not an HTTP grant: it takes a host and perhaps a port, no path, because a grant holds for all of a host
 --> lacewing.toml:8:5
  |
8 |     "https://example.com/v1/items",
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write `https://example.com`

error: "https://example.com:99999" is not an HTTP grant: its port is not a number from 1 to 65535, or `*` for any
 --> lacewing.toml:9:5
  |
9 |     "https://example.com:99999",
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: "exa mple.com" is not a host name: between its dots it takes 1 to 63 letters, digits and hyphens, a hyphen neither first nor last
  --> lacewing.toml:10:5
   |
10 |     "https://exa mple.com",
   |     ^^^^^^^^^^^^^^^^^^^^^^

error: "a.*.com" is not a host name: a star stands only at the beginning, as in `*.example.com`
  --> lacewing.toml:11:5
   |
11 |     "https://a.*.com",
   |     ^^^^^^^^^^^^^^^^^

error: "10.1.0.0/33" is not a network in CIDR notation, such as `10.1.0.0/16`
  --> lacewing.toml:13:13
   |
13 | networks = ["10.1.0.0/33", "10.1.2.3", "lan"]
   |             ^^^^^^^^^^^^^

error: "10.1.2.3" is not a network in CIDR notation, such as `10.1.0.0/16`
  --> lacewing.toml:13:28
   |
13 | networks = ["10.1.0.0/33", "10.1.2.3", "lan"]
   |                            ^^^^^^^^^^
   = help: write `10.1.2.3/32` for this one address

error: "lan" is not a network in CIDR notation, such as `10.1.0.0/16`
  --> lacewing.toml:13:40
   |
13 | networks = ["10.1.0.0/33", "10.1.2.3", "lan"]
   |                                        ^^^^^"#
    );
}

#[test]
fn grants_without_the_intended_effect() {
    let findings = report(
        r#"app = "shop"

[functions.a.grants]
http = ["https://example.com", "https://example.com:443", "http://localhost:9000"]
networks = ["10.1.2.3/16"]

[functions.b.grants]
networks = ["0.0.0.0/0"]
"#,
    );
    assert_eq!(
        findings,
        r#"warning: `https://example.com` is granted already
 --> lacewing.toml:4:32
  |
4 | http = ["https://example.com", "https://example.com:443", "http://localhost:9000"]
  |                                ^^^^^^^^^^^^^^^^^^^^^^^^^

warning: `http://localhost:9000` resolves to a loopback address, which is not granted
 --> lacewing.toml:4:59
  |
4 | http = ["https://example.com", "https://example.com:443", "http://localhost:9000"]
  |                                                           ^^^^^^^^^^^^^^^^^^^^^^^
  = help: add `networks = ["127.0.0.0/8", "::1/128"]`, or write and call `http://127.0.0.1:9000`

warning: `10.1.2.3/16` has bits set after its prefix, and is taken as `10.1.0.0/16`
 --> lacewing.toml:5:13
  |
5 | networks = ["10.1.2.3/16"]
  |             ^^^^^^^^^^^^^
  = help: write `10.1.0.0/16`

warning: `0.0.0.0/0` holds every address: the host's own, its neighbours' and the cloud's metadata service's as well
 --> lacewing.toml:8:13
  |
8 | networks = ["0.0.0.0/0"]
  |             ^^^^^^^^^^^
  = help: write the networks that are needed

warning: `networks` has no effect without `http`
 --> lacewing.toml:8:13
  |
8 | networks = ["0.0.0.0/0"]
  |             ^^^^^^^^^^^
  = help: `networks` lists private networks that a host in `http` may be in: add the host to `http`"#
    );
}

#[test]
fn wrong_cors() {
    let findings = report(
        r#"app = "shop"

[functions.a.cors]
origins = ["*"]
headers = ["*", "accept"]
credentials = true
max_age_s = 1_000_000

[functions.b.cors]
credentials = true

[functions.c.cors]
origins = ["example.com", "https://example.com/", "https://a.com", "https://a.com:443"]
methods = ["put"]
headers = ["a b"]

[functions.d.cors]
origins = []
"#,
    );
    assert_eq!(
        findings,
        r#"error: `*` means every header, and must be the only entry
 --> lacewing.toml:5:12
  |
5 | headers = ["*", "accept"]
  |            ^^^

error: `credentials = true` cannot stand beside `origins = ["*"]`: browsers refuse it
 --> lacewing.toml:6:15
  |
6 | credentials = true
  |               ^^^^
  = help: name the origins, or leave `credentials` out

error: `credentials = true` cannot stand beside `headers = ["*"]`: browsers refuse it
 --> lacewing.toml:6:15
  |
6 | credentials = true
  |               ^^^^
  = help: name the headers, or leave `credentials` out

error: `max_age_s` takes 0 to 86400, not 1000000
 --> lacewing.toml:7:13
  |
7 | max_age_s = 1_000_000
  |             ^^^^^^^^^

error: `cors` does not say the origins
 --> lacewing.toml:9:1
  |
9 | [functions.b.cors]
  | ^^^^^^^^^^^^^^^^^^
  = help: add `origins = ["https://example.com"]`, or `origins = ["*"]` for all

error: "example.com" is not an origin: it begins with `https://` or `http://`, as in `https://example.com`
  --> lacewing.toml:13:12
   |
13 | origins = ["example.com", "https://example.com/", "https://a.com", "https://a.com:443"]
   |            ^^^^^^^^^^^^^

error: "https://example.com/" is not an origin: nothing follows the host and port, not even a slash
  --> lacewing.toml:13:27
   |
13 | origins = ["example.com", "https://example.com/", "https://a.com", "https://a.com:443"]
   |                           ^^^^^^^^^^^^^^^^^^^^^^

warning: `https://a.com` is in the list already
  --> lacewing.toml:13:68
   |
13 | origins = ["example.com", "https://example.com/", "https://a.com", "https://a.com:443"]
   |                                                                    ^^^^^^^^^^^^^^^^^^^

error: "put" is not a method: methods are in upper case
  --> lacewing.toml:14:12
   |
14 | methods = ["put"]
   |            ^^^^^
   = help: write `PUT`

error: "a b" is not a header name
  --> lacewing.toml:15:12
   |
15 | headers = ["a b"]
   |            ^^^^^

error: `origins` is empty, so no page could call
  --> lacewing.toml:18:11
   |
18 | origins = []
   |           ^^
   = help: name the origins, or leave `cors` out"#
    );
}

#[test]
fn incomplete_routes_and_grants_are_reported() {
    let findings = report(
        r#"app = "shop"

[functions.a]
routes = ["/items/{id", "/items/{id/"]
grants.http = ["https//api.example.com"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "/items/{id" is not a route: a parameter, as in `{id}`, takes a whole segment
 --> lacewing.toml:4:11
  |
4 | routes = ["/items/{id", "/items/{id/"]
  |           ^^^^^^^^^^^^
  = help: write `{id}`

error: "/items/{id/" is not a route: a parameter, as in `{id}`, takes a whole segment
 --> lacewing.toml:4:25
  |
4 | routes = ["/items/{id", "/items/{id/"]
  |                         ^^^^^^^^^^^^^
  = help: write `{id}`

error: "https//api.example.com" is not an HTTP grant: it does not say the scheme
 --> lacewing.toml:5:16
  |
5 | grants.http = ["https//api.example.com"]
  |                ^^^^^^^^^^^^^^^^^^^^^^^^
  = help: write `https://api.example.com`, or `*://api.example.com` for http as well"#
    );
}

//! Keys, types, numbers and names, and what is no TOML: the text of each finding.

#![allow(clippy::too_many_lines, reason = "a test is as long as the text that it compares")]

use super::super::testing::report;

#[test]
fn an_unknown_key_names_the_nearest() {
    let findings = report(
        r#"app = "hello"

[functions.hello]
routes = ["/"]

[functions.hello.limits]
memory_mb = 64
"#,
    );
    assert_eq!(
        findings,
        "error: unknown key `memory_mb` in `[functions.hello.limits]`
 --> lacewing.toml:7:1
  |
7 | memory_mb = 64
  | ^^^^^^^^^
  = help: did you mean `memory_mib`? What is known here: `memory_mib`, `cpu_ms`, `deadline_ms`, `init_cpu_ms`, `fuel`, `table_elements`, `instances`, `memories`, `request_body_kib`, `response_body_kib`, `headers`, `header_kib`, `log_kib`, `concurrency`, `rate_per_s`, `provisioned`, `reuse`, `handles`, `random_kib`, `outbound_concurrency`, `outbound_requests`, `egress_kib`, `effects` and `effect_kib`"
    );
}

#[test]
fn a_limit_outside_its_table() {
    let findings = report(
        r#"app = "hello"

[functions.hello]
memory_mib = 64
"#,
    );
    assert_eq!(
        findings,
        "error: unknown key `memory_mib` in `[functions.hello]`
 --> lacewing.toml:4:1
  |
4 | memory_mib = 64
  | ^^^^^^^^^^
  = help: `memory_mib` stands in `[functions.hello.limits]`"
    );
}

#[test]
fn unknown_keys_at_the_top() {
    let findings = report(
        r#"name = "hello"
colour = "green"

[functions.hello]
"#,
    );
    assert_eq!(
        findings,
        r#"error: unknown key `name`
 --> lacewing.toml:1:1
  |
1 | name = "hello"
  | ^^^^
  = help: did you mean `app`? What is known here: `app`, `defaults`, `kv`, `buckets`, `sql` and `functions`

error: unknown key `colour`
 --> lacewing.toml:2:1
  |
2 | colour = "green"
  | ^^^^^^
  = help: what is known here: `app`, `defaults`, `kv`, `buckets`, `sql` and `functions`"#
    );
}

#[test]
fn an_unknown_table() {
    let findings = report(
        r#"app = "hello"

[function.hello]
routes = ["/"]
"#,
    );
    assert_eq!(
        findings,
        "error: unknown key `function`
 --> lacewing.toml:3:2
  |
3 | [function.hello]
  |  ^^^^^^^^
  = help: did you mean `functions`? What is known here: `app`, `defaults`, `kv`, `buckets`, `sql` and `functions`"
    );
}

#[test]
fn an_unknown_key_in_an_inline_table() {
    let findings = report(
        r#"app = "hello"
functions.hello.routes = [{ path = "/", method = ["GET"] }]
"#,
    );
    assert_eq!(
        findings,
        r#"error: unknown key `method` in an item of `routes`
 --> lacewing.toml:2:41
  |
2 | functions.hello.routes = [{ path = "/", method = ["GET"] }]
  |                                         ^^^^^^
  = help: did you mean `methods`? What is known here: `path`, `methods` and `host`"#
    );
}

#[test]
fn a_unit_in_a_number() {
    let findings = report(
        r#"app = "hello"

[functions.hello.limits]
memory_mib = "64MB"
cpu_ms = "1s"
deadline_ms = 1.5
fuel = true
log_kib = "some"
rate_per_s = "10/s"
"#,
    );
    assert_eq!(
        findings,
        r#"error: `memory_mib` takes a whole number of MiB, not "64MB"
 --> lacewing.toml:4:14
  |
4 | memory_mib = "64MB"
  |              ^^^^^^
  = help: write `memory_mib = 64`

error: `cpu_ms` takes a whole number of milliseconds, not "1s"
 --> lacewing.toml:5:10
  |
5 | cpu_ms = "1s"
  |          ^^^^
  = help: write `cpu_ms = 1000`

error: `deadline_ms` takes a whole number of milliseconds, not 1.5
 --> lacewing.toml:6:15
  |
6 | deadline_ms = 1.5
  |               ^^^
  = help: write digits only, without quotes, fraction or unit

error: `fuel` takes a whole number, not true
 --> lacewing.toml:7:8
  |
7 | fuel = true
  |        ^^^^
  = help: write digits only, without quotes, fraction or unit

error: `log_kib` takes a whole number of KiB, not "some"
 --> lacewing.toml:8:11
  |
8 | log_kib = "some"
  |           ^^^^^^
  = help: write digits only, without quotes, fraction or unit

error: `rate_per_s` takes a whole number per second, not "10/s"
 --> lacewing.toml:9:14
  |
9 | rate_per_s = "10/s"
  |              ^^^^^^
  = help: write `rate_per_s = 10`"#
    );
}

#[test]
fn numbers_out_of_range() {
    let findings = report(
        r#"app = "hello"

[functions.hello.limits]
memory_mib = 0
cpu_ms = -5
deadline_ms = 99_999_999_999
fuel = 99999999999999999999999999999999999999999999999
"#,
    );
    assert_eq!(
        findings,
        "error: `memory_mib` takes 1 to 4096, not 0
 --> lacewing.toml:4:14
  |
4 | memory_mib = 0
  |              ^

error: `cpu_ms` takes 1 to 900000, not -5
 --> lacewing.toml:5:10
  |
5 | cpu_ms = -5
  |          ^^

error: `deadline_ms` takes 1 to 86400000, not 99999999999
 --> lacewing.toml:6:15
  |
6 | deadline_ms = 99_999_999_999
  |               ^^^^^^^^^^^^^^

error: `fuel` takes 1 to 9223372036854775807, not so large a number
 --> lacewing.toml:7:8
  |
7 | fuel = 99999999999999999999999999999999999999999999999
  |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^"
    );
}

#[test]
fn wrong_types() {
    let findings = report(
        r#"app = 3
functions.hello.crate = ["."]
functions.hello.routes = "/"
functions.hello.env.PORT = 8080
functions.hello.grants.http = [1]
functions.hello.cors = { origins = ["*"], credentials = "true" }
functions.other = "other.wasm"
"#,
    );
    assert_eq!(
        findings,
        r#"error: `app` takes a string, not 3
 --> lacewing.toml:1:7
  |
1 | app = 3
  |       ^

error: `crate` takes a string, not an array
 --> lacewing.toml:2:25
  |
2 | functions.hello.crate = ["."]
  |                         ^^^^^

error: `routes` takes an array, not "/"
 --> lacewing.toml:3:26
  |
3 | functions.hello.routes = "/"
  |                          ^^^
  = help: write `routes = ["/"]`

error: `PORT` takes a string, not 8080
 --> lacewing.toml:4:28
  |
4 | functions.hello.env.PORT = 8080
  |                            ^^^^
  = help: write `PORT = "8080"`

error: each item of `http` takes a string, not 1
 --> lacewing.toml:5:32
  |
5 | functions.hello.grants.http = [1]
  |                                ^

error: `credentials` takes `true` or `false`, not "true"
 --> lacewing.toml:6:57
  |
6 | functions.hello.cors = { origins = ["*"], credentials = "true" }
  |                                                         ^^^^^^
  = help: write `credentials = true`

error: `other` takes a table, not "other.wasm"
 --> lacewing.toml:7:19
  |
7 | functions.other = "other.wasm"
  |                   ^^^^^^^^^^^^"#
    );
}

#[test]
fn an_array_of_functions() {
    let findings = report(
        r#"app = "hello"

[[functions]]
name = "hello"
"#,
    );
    assert_eq!(
        findings,
        "error: `functions` takes a table, not an array
 --> lacewing.toml:3:1
  |
3 | [[functions]]
  | ^^^^^^^^^^^^^
  = help: write `[functions.NAME]`, with the name of your choice"
    );
}

#[test]
fn a_date() {
    let findings = report(
        "app = 2024-01-01
functions.hello = {}
",
    );
    assert_eq!(
        findings,
        "error: `app` takes a string, not the date 2024-01-01
 --> lacewing.toml:1:7
  |
1 | app = 2024-01-01
  |       ^^^^^^^^^^"
    );
}

#[test]
fn wrong_names() {
    let findings = report(
        r#"app = "My Shop"

[functions.Check_Out]

[functions."9"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "My Shop" is not a name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen
 --> lacewing.toml:1:7
  |
1 | app = "My Shop"
  |       ^^^^^^^^^
  = help: write `my-shop`

error: "Check_Out" is not a name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen
 --> lacewing.toml:3:12
  |
3 | [functions.Check_Out]
  |            ^^^^^^^^^
  = help: write `check-out`

error: "9" is not a name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen
 --> lacewing.toml:5:12
  |
5 | [functions."9"]
  |            ^^^
  = help: write `f9`"#
    );
}

#[test]
fn wrong_defaults_are_reported_once() {
    let findings = report(
        r#"app = "shop"
defaults.limits.memory_mib = 0
defaults.env."" = ""
functions.a = {}
functions.b = {}
"#,
    );
    assert_eq!(
        findings,
        r#"error: `memory_mib` takes 1 to 4096, not 0
 --> lacewing.toml:2:30
  |
2 | defaults.limits.memory_mib = 0
  |                              ^

error: the name of an environment variable is empty
 --> lacewing.toml:3:14
  |
3 | defaults.env."" = ""
  |              ^^"#
    );
}

#[test]
fn a_cpu_budget_over_the_deadline() {
    let findings = report(
        r#"app = "shop"

[functions.a.limits]
cpu_ms = 2000
deadline_ms = 1000
"#,
    );
    assert_eq!(
        findings,
        "warning: `cpu_ms` is above `deadline_ms` (1000), so the deadline always comes first
 --> lacewing.toml:4:10
  |
4 | cpu_ms = 2000
  |          ^^^^
note: the deadline is here
 --> lacewing.toml:5:15
  |
5 | deadline_ms = 1000
  |               ^^^^"
    );
}

#[test]
fn no_app_name() {
    let findings = report(
        "[functions.hello]
",
    );
    assert_eq!(
        findings,
        r#"error: the manifest does not say the app's name
 --> lacewing.toml
  = help: add `app = "manifest"` as the first line"#
    );
}

#[test]
fn no_functions() {
    let findings = report(
        r#"app = "hello"
"#,
    );
    assert_eq!(
        findings,
        r#"error: the manifest has no functions
 --> lacewing.toml
  = help: add a table `[functions.NAME]` with `routes = ["/"]`"#
    );
}

#[test]
fn empty() {
    let findings = report("");
    assert_eq!(
        findings,
        r#"error: the manifest is empty
 --> lacewing.toml
  = help: it needs at least `app = "NAME"` and a table `[functions.NAME]` with `routes = ["/"]`"#
    );
}

#[test]
fn only_a_comment() {
    let findings = report(
        "# nothing
",
    );
    assert_eq!(
        findings,
        r#"error: the manifest is empty
 --> lacewing.toml
  = help: it needs at least `app = "NAME"` and a table `[functions.NAME]` with `routes = ["/"]`"#
    );
}

#[test]
fn not_toml() {
    let findings = report(
        r#"app = hello
[functions.hello
routes = ["/"
"#,
    );
    assert_eq!(
        findings,
        r#"error: this is not TOML: string values must be quoted, expected literal string
 --> lacewing.toml:1:7
  |
1 | app = hello
  |       ^^^^^

error: this is not TOML: unclosed table, expected `]`
 --> lacewing.toml:2:17
  |
2 | [functions.hello
  |                 ^

error: this is not TOML: unclosed array, expected `]`
 --> lacewing.toml:3:14
  |
3 | routes = ["/"
  |              ^"#
    );
}

#[test]
fn a_key_twice() {
    let findings = report(
        r#"app = "hello"
app = "again"

[functions.hello]

[functions.hello]
"#,
    );
    assert_eq!(
        findings,
        r#"error: this is not TOML: duplicate key
 --> lacewing.toml:2:1
  |
2 | app = "again"
  | ^^^

error: this is not TOML: duplicate key
 --> lacewing.toml:6:12
  |
6 | [functions.hello]
  |            ^^^^^"#
    );
}

#[test]
fn a_long_line_is_cut() {
    let findings = report(
        r#"app = "hello"
functions.hello.routes = ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9", "/10", "/11", "/12", "/13", "/14", "/15", "/16", "/17", "/18", "/19", "/20", "/21", "/22", "/23", "/24", "/25", "/26", "/27", "/28", "/29", "/30", "/31", "/32", "/33", "/34", "/35", "/36", "/37", "/38", "/39", 7, "/x0", "/x1", "/x2", "/x3", "/x4", "/x5", "/x6", "/x7", "/x8", "/x9", "/x10", "/x11", "/x12", "/x13", "/x14", "/x15", "/x16", "/x17", "/x18", "/x19", "/x20", "/x21", "/x22", "/x23", "/x24", "/x25", "/x26", "/x27", "/x28", "/x29", "/x30", "/x31", "/x32", "/x33", "/x34", "/x35", "/x36", "/x37", "/x38", "/x39"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: each item of `routes` takes a path or a table, not 7
 --> lacewing.toml:2:297
  |
2 | ..."/30", "/31", "/32", "/33", "/34", "/35", "/36", "/37", "/38", "/39", 7, "/x0", "/x1", "/x2", "/x3", "/x4", "/x5", "/x6", "/x7", "/x8", "/x9"...
  |                                                                          ^"#
    );
}

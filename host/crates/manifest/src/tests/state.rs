//! Key-value stores, secrets, and grants for them: the text of each finding.

use super::super::testing::report;

#[test]
fn wrong_stores_and_grants() {
    let findings = report(
        r#"app = "shop"

[kv.Users]

[kv.carts]
max_mib = 0
max_value_kib = 2048

[functions.api]
component = "Cargo.toml"
grants.kv = { carts = "write", cart = "read", other = "read" }
"#,
    );
    assert_eq!(
        findings,
        r#"error: "Users" is not a name: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen
 --> lacewing.toml:3:5
  |
3 | [kv.Users]
  |     ^^^^^
  = help: write `users`

error: `max_mib` takes 1 to 1073741824, not 0
 --> lacewing.toml:6:11
  |
6 | max_mib = 0
  |           ^

error: `max_value_kib` takes 1 to 1024, not 2048
 --> lacewing.toml:7:17
  |
7 | max_value_kib = 2048
  |                 ^^^^

error: "write" is no access to a store
  --> lacewing.toml:11:23
   |
11 | grants.kv = { carts = "write", cart = "read", other = "read" }
   |                       ^^^^^^^
   = help: write `"read"` or `"read-write"`

error: the app has no kv store "cart"
  --> lacewing.toml:11:32
   |
11 | grants.kv = { carts = "write", cart = "read", other = "read" }
   |                                ^^^^
   = help: did you mean `carts`?

error: the app has no kv store "other"
  --> lacewing.toml:11:47
   |
11 | grants.kv = { carts = "write", cart = "read", other = "read" }
   |                                               ^^^^^
   = help: add a table `[kv.other]`"#
    );
}

#[test]
fn wrong_secrets() {
    let findings = report(
        r#"app = "shop"

[functions.api]
component = "Cargo.toml"
env = { api_key = "1" }
grants.secrets = ["stripe-key", "API_KEY", "DB_URL", "DB_URL", "2"]
"#,
    );
    assert_eq!(
        findings,
        r#"error: "stripe-key" is no name of a secret: 1 to 64 upper-case letters, digits and underscores, beginning with a letter
 --> lacewing.toml:6:19
  |
6 | grants.secrets = ["stripe-key", "API_KEY", "DB_URL", "DB_URL", "2"]
  |                   ^^^^^^^^^^^^
  = help: write `"STRIPE_KEY"`

error: `api_key` is a variable of the function's environment, and `API_KEY` is a secret
 --> lacewing.toml:6:33
  |
6 | grants.secrets = ["stripe-key", "API_KEY", "DB_URL", "DB_URL", "2"]
  |                                 ^^^^^^^^^
  = help: remove the variable from `env`: a secret is no part of the environment

warning: `DB_URL` is granted already
 --> lacewing.toml:6:54
  |
6 | grants.secrets = ["stripe-key", "API_KEY", "DB_URL", "DB_URL", "2"]
  |                                                      ^^^^^^^^

error: "2" is no name of a secret: 1 to 64 upper-case letters, digits and underscores, beginning with a letter
 --> lacewing.toml:6:64
  |
6 | grants.secrets = ["stripe-key", "API_KEY", "DB_URL", "DB_URL", "2"]
  |                                                                ^^^"#
    );
}

#[test]
fn more_secrets_than_an_app_has() {
    let names: Vec<String> = (0..65).map(|number| format!("\"KEY_{number}\"")).collect();
    let text = format!(
        "app = \"shop\"\n[functions.api]\ncomponent = \"Cargo.toml\"\ngrants.secrets = [\n{}\n]\n",
        names.join(",\n")
    );
    assert_eq!(
        report(&text),
        r#"error: `secrets` has 65 items, and an app has 64 secrets
  --> lacewing.toml:69:1
   |
69 | "KEY_64"
   | ^^^^^^^^"#
    );
}

#[test]
fn wrong_databases_and_grants() {
    let findings = report(
        r#"app = "shop"

[sql.default]
max_mib = 0
max_statement_ms = 0
max_result_kib = 100_000
max_heap_mib = 1

[functions.api]
component = "Cargo.toml"
grants.sql = { default = "write", defaults = "read", other = "read" }
"#,
    );
    assert_eq!(
        findings,
        r#"error: `max_mib` takes 1 to 16777216, not 0
 --> lacewing.toml:4:11
  |
4 | max_mib = 0
  |           ^

error: `max_statement_ms` takes 1 to 900000, not 0
 --> lacewing.toml:5:20
  |
5 | max_statement_ms = 0
  |                    ^

error: `max_result_kib` takes 1 to 65536, not 100000
 --> lacewing.toml:6:18
  |
6 | max_result_kib = 100_000
  |                  ^^^^^^^

error: `max_heap_mib` takes 2 to 1024, not 1
 --> lacewing.toml:7:16
  |
7 | max_heap_mib = 1
  |                ^

error: "write" is no access to a store
  --> lacewing.toml:11:26
   |
11 | grants.sql = { default = "write", defaults = "read", other = "read" }
   |                          ^^^^^^^
   = help: write `"read"` or `"read-write"`

error: the app has no SQL database "defaults"
  --> lacewing.toml:11:35
   |
11 | grants.sql = { default = "write", defaults = "read", other = "read" }
   |                                   ^^^^^^^^
   = help: did you mean `default`?

error: the app has no SQL database "other"
  --> lacewing.toml:11:54
   |
11 | grants.sql = { default = "write", defaults = "read", other = "read" }
   |                                                      ^^^^^
   = help: add a table `[sql.other]`"#
    );
}

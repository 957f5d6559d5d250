//! Key-value stores and grants for them: the text of each finding.

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

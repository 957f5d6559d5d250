//! The lines of a start, and the values that it takes from the environment of the operator.

use std::{fs, path::PathBuf};

use crate::{
    client::get,
    harness::guest,
    process::{Up, command},
    up::arg,
};

/// A folder with a host file and the app of a tenant.
struct HostDir(tempfile::TempDir);

impl HostDir {
    /// `function` is the rest of the function's table, and `tenant` that of the tenant's.
    fn new(function: &str, tenant: &str) -> HostDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("red/app")).unwrap();
        fs::create_dir(dir.path().join("shared")).unwrap();
        fs::copy(guest("says"), dir.path().join("shared/x.wasm")).unwrap();
        let manifest = format!(
            "app = \"shop\"\n[functions.it]\nroutes = [\"/{{*path}}\"]\ncomponent = \"../../shared/x.wasm\"\n{function}\n"
        );
        fs::write(dir.path().join("red/app/lacewing.toml"), manifest).unwrap();
        let host = format!(
            "[tenants.red]\nhosts = [\"red.test\", \"*.red.test\"]\napps = [\"red/app\"]\ncomponent_dirs = [\"shared\"]\n{tenant}\n"
        );
        fs::write(dir.path().join("host.toml"), host).unwrap();
        HostDir(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn start(&self, greeting: &str) -> Up {
        let host = self.path("host.toml");
        Up::spawn(&["--host", arg(&host)], |command| {
            command.env("SHOP_GREETING", greeting);
        })
        .serving()
    }
}

async fn greeting(up: &Up) -> String {
    get(up.address, "red.test", "/speak").await.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_lists_its_tenants_and_names_files_without_detours() {
    let dir = HostDir::new("", "");
    // The second start reads what the first one has written down.
    for _ in 0..2 {
        let up = dir.start("");
        up.line("  tenant red: red.test, *.red.test");
        up.signal("TERM");
        let (_, said) = up.wait();
        assert!(!said.contains(".."), "{said}");
    }
    fs::write(dir.path("shared/x.wasm"), "not wasm").unwrap();
    let up = Up::spawn(&["--host", arg(&dir.path("host.toml"))], |_| {});
    let (_, said) = up.wait();
    assert!(said.contains(&format!("of app shop ({}): ", dir.path("shared/x.wasm").display())));
}

#[test]
fn a_host_file_is_checked_as_one() {
    let dir = HostDir::new("", "");
    let check = || {
        let output = command(&["check"]).arg(dir.path("host.toml")).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = check();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Checked red/shop/it@"), "{said}");
    // What is wrong in an app refuses that app alone when it is served, and is an error of the
    // check.
    let manifest = dir.path("red/app/lacewing.toml");
    let text = fs::read_to_string(&manifest).unwrap() + "colour = 1\n";
    fs::write(&manifest, text).unwrap();
    let (code, said) = check();
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("error: unknown key `colour` in `[functions.it]`"), "{said}");
    let output = command(&["schema", "--host"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["tenants"].is_object(), "{schema}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_a_route_says_how_it_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!("app = \"shop\"\n[functions.it]\ncomponent = {:?}\n", guest("says"));
    fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    let up = Up::start(&[arg(dir.path())]);
    let home = dir.path().display();
    up.line(&format!("  it has no route; it answers HTTP: lacewing invoke {home} it"));
    up.line("warning: no function has a route: every request is answered with 404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_the_values_that_the_operator_allows() {
    let env = "env.GREETING = { from_env = \"SHOP_GREETING\" }";
    let refused = HostDir::new(env, "");
    let up = Up::spawn(&["--host", arg(&refused.path("host.toml"))], |command| {
        command.env("SHOP_GREETING", "secret");
    });
    let (status, said) = up.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(
        said.contains("error: the app may not read `SHOP_GREETING` of the host's environment"),
        "{said}"
    );
    assert!(!said.contains("secret"), "{said}");

    let dir = HostDir::new(env, "env = { names = [\"SHOP_*\"] }");
    // The next start has another value, although no file has changed.
    for value in ["one", "two"] {
        let up = dir.start(value);
        assert_eq!(greeting(&up).await, value);
        up.signal("TERM");
        let (_, said) = up.wait();
        assert!(!said.contains(value), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_of_a_file_is_read_again_at_a_reload() {
    let dir = HostDir::new(
        "env.GREETING = { from_file = \"../../secrets/greeting\" }",
        "env = { dirs = [\"secrets\"] }",
    );
    fs::create_dir(dir.path("secrets")).unwrap();
    fs::write(dir.path("secrets/greeting"), "one\n").unwrap();
    let up = dir.start("");
    assert_eq!(greeting(&up).await, "one");
    fs::write(dir.path("secrets/new"), "two\n").unwrap();
    fs::rename(dir.path("secrets/new"), dir.path("secrets/greeting")).unwrap();
    up.signal("HUP");
    up.line("Swapped red/shop/it@");
    assert_eq!(greeting(&up).await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_the_command_line_holds_for_that_start() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!(
        "app = \"shop\"\n[functions.it]\nroutes = [\"/{{*path}}\"]\ncomponent = {:?}\nenv.GREETING = \"manifest\"\n",
        guest("says")
    );
    fs::write(dir.path().join("lacewing.toml"), manifest).unwrap();
    for (args, expected) in
        [(&[][..], "manifest"), (&["--env=GREETING=line"][..], "line"), (&[][..], "manifest")]
    {
        let up = Up::start(&[&[arg(dir.path())], args].concat());
        assert_eq!(get(up.address, "localhost", "/speak").await.text(), expected);
        up.signal("TERM");
        assert_eq!(up.exit().code(), Some(0));
    }
}

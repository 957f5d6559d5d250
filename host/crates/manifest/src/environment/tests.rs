//! Values from outside of the manifest, and on whose terms.

use std::{fs, path::Path};

use super::*;
use crate::{App, Terms};

/// A variable that cargo sets for every test.
const SET: &str = "CARGO_PKG_NAME";

fn read(dir: &Path, env: &str, terms: &Terms) -> Result<(App, Vec<Diagnostic>), String> {
    let manifest = format!(
        "app = \"a\"\n[functions.f]\nroutes = [\"/\"]\ncomponent = \"x.wasm\"\n[functions.f.env]\n{env}\n"
    );
    fs::write(dir.join("x.wasm"), "").unwrap();
    fs::write(dir.join("lacewing.toml"), manifest).unwrap();
    App::load_on(dir, terms).map_err(|findings| {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        findings.join("\n").replace(dir.to_str().unwrap(), "DIR")
    })
}

fn tenants(names: &[&str], dirs: Vec<PathBuf>) -> Terms {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let (component_dirs, env_names) = (Some(Vec::new()), Some(EnvNames::new(names)));
    Terms { component_dirs, env_names, env_dirs: Some(dirs), ..Terms::free() }
}

#[test]
fn values_come_from_the_environment_and_from_files() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("key"), "secret\nof two lines\r\n").unwrap();
    let env = format!("A = {{ from_env = {SET:?} }}\nB = {{ from_file = \"key\" }}\nC = \"c\"");
    let (app, warnings) = read(dir.path(), &env, &Terms::free()).unwrap();
    assert_eq!(warnings, []);
    let function = &app.functions[0];
    let variables: Vec<String> =
        function.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(variables, [concat!("A=", env!("CARGO_PKG_NAME")), "B=secret\nof two lines", "C=c"]);
    assert!(function.outside.is_used);
    assert!(function.outside.files[0].ends_with("key"), "{:?}", function.outside);
    let (app, _) = read(dir.path(), "C = \"c\"", &Terms::free()).unwrap();
    assert_eq!(app.functions[0].outside, Outside::default());
}

#[test]
fn a_value_that_is_not_there_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let said = |env: &str| read(dir.path(), env, &Terms::free()).unwrap_err();
    let text = said("A = { from_env = \"NOT_SET_ANYWHERE\" }");
    assert_eq!(
        text,
        "error: the environment of the host has no `NOT_SET_ANYWHERE`\n --> DIR/lacewing.toml:6:5\n  |\n6 | A = { from_env = \"NOT_SET_ANYWHERE\" }\n  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n  = help: set the variable where `lacewing` is started"
    );
    let text = said("A = { from_file = \"none\" }");
    assert!(text.starts_with("error: `DIR/none` gives no value: No such file"), "{text}");
    for both in ["A = { from_file = \"x\", from_env = \"X\" }", "A = {}"] {
        let text = said(both);
        assert!(text.starts_with("error: a value comes from either `from_env` or `from_file`\n"));
        assert!(text.ends_with("= help: write `A = { from_env = \"A\" }`"), "{text}");
    }
    let text = said("A = { from_evn = \"X\" }");
    assert!(text.contains("unknown key `from_evn`"), "{text}");
    fs::write(dir.path().join("bytes"), [0xff]).unwrap();
    assert!(said("A = { from_file = \"bytes\" }").contains("`DIR/bytes` is not UTF-8"));
    fs::write(dir.path().join("long"), "x".repeat(MAX_ENV_BYTES + 1)).unwrap();
    let text = said("A = { from_file = \"long\" }");
    assert!(text.contains("`DIR/long` gives no value: it is larger than 64 KiB"), "{text}");
}

#[test]
fn a_tenant_reads_only_what_the_operator_names() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("own"), "own").unwrap();
    fs::write(elsewhere.path().join("key"), "key").unwrap();
    let from_env = format!("A = {{ from_env = {SET:?} }}");
    let from_file = format!("A = {{ from_file = {:?} }}", elsewhere.path().join("key"));
    let none = tenants(&[], Vec::new());
    let text = read(dir.path(), &from_env, &none).unwrap_err();
    assert!(
        text.starts_with(
            "error: the app may not read `CARGO_PKG_NAME` of the host's environment\n"
        ),
        "{text}"
    );
    assert!(
        text.ends_with("= help: the operator allows it with `env = { names = [\"CARGO_PKG_NAME\"] }` of the tenant in the host file"),
        "{text}"
    );
    // Whether a variable is set is not told either.
    let unset = read(dir.path(), "A = { from_env = \"NOT_SET_ANYWHERE\" }", &none).unwrap_err();
    assert!(unset.contains("the app may not read `NOT_SET_ANYWHERE`"), "{unset}");
    let text = read(dir.path(), &from_file, &none).unwrap_err();
    assert!(text.contains("leads out of the folder that it has to be in"), "{text}");
    assert!(text.contains("`env = { dirs = [...] }` of the tenant in the host file"), "{text}");
    // A link in the app's folder leads no further than its words.
    std::os::unix::fs::symlink(elsewhere.path().join("key"), dir.path().join("link")).unwrap();
    let text = read(dir.path(), "A = { from_file = \"link\" }", &none).unwrap_err();
    assert!(text.contains("leads out of the folder"), "{text}");

    let value = |env: &str, terms: &Terms| {
        read(dir.path(), env, terms).unwrap().0.functions[0].env[0].1.clone()
    };
    assert_eq!(value("A = { from_file = \"own\" }", &none), "own");
    for names in [SET, "CARGO_PKG_*"] {
        assert_eq!(
            value(&from_env, &tenants(&[names], Vec::new())),
            env!("CARGO_PKG_NAME"),
            "{names}"
        );
    }
    assert!(read(dir.path(), &from_env, &tenants(&["CARGO_PKG", "PKG_*"], Vec::new())).is_err());
    let some = tenants(&[], vec![elsewhere.path().canonicalize().unwrap()]);
    let from_file =
        format!("A = {{ from_file = {:?} }}", elsewhere.path().canonicalize().unwrap().join("key"));
    assert_eq!(value(&from_file, &some), "key");
}

#[test]
fn a_placeholder_of_a_shell_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let warned = |value: &str| {
        let (app, warnings) =
            read(dir.path(), &format!("SECRET = {value:?}"), &Terms::free()).unwrap();
        assert_eq!(app.functions[0].env[0].1, value);
        warnings.iter().map(|one| (one.message.clone(), one.help.clone().unwrap())).next()
    };
    let (message, help) = warned("${TOKEN}").unwrap();
    assert_eq!(message, "`${TOKEN}` is passed as it is: nothing is put in its place");
    assert_eq!(
        help,
        "for a variable of the host's environment, write `SECRET = { from_env = \"TOKEN\" }`"
    );
    assert!(warned("https://${HOST}/x").is_some() && warned("${PORT:-80}").is_some());
    for value in ["${}", "${a b}", "$TOKEN", "{TOKEN}", "price: 5$ {net}"] {
        assert_eq!(warned(value), None, "{value}");
    }
}

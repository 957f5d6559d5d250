//! Manifests that are taken, and the texts of errors in others.

mod bombs;
mod content;
mod keys;
mod properties;
mod schema;
mod state;

use std::{fs, path::Path, time::Duration};

use http::Method;
use lacewing_base::{
    KvStore, Methods,
    cors::{Headers, Origins},
};

use super::testing::{print, report};
use super::*;

fn parse(text: &str) -> App {
    match App::parse(&ManifestText::new("lacewing.toml", text)) {
        Ok((app, findings)) if findings.is_empty() => app,
        Ok((_, findings)) | Err(findings) => panic!("{}", print(&findings, Path::new("/nowhere"))),
    }
}

/// A manifest that uses every key, which is what the schema's tests take too.
const FULL: &str = r##"
app = "shop"

[kv.users]
max_mib = 5
max_value_kib = 6

[kv.sessions]

[defaults.limits]
memory_mib = 32
cpu_ms = 200

[defaults.env]
REGION = "eu"
LEVEL = "info"

[functions.api]
crate = "."
routes = [
    "/",
    { path = "/items/{id}", methods = ["GET", "DELETE"], host = "api.example.com" },
    { path = "/files/{*rest}", methods = ["PUT"], host = "*.example.com" },
]

[functions.api.limits]
memory_mib = 64
deadline_ms = 5000
init_cpu_ms = 2_000
fuel = 1_000_000
table_elements = 1000
instances = 10
memories = 2
request_body_kib = 16
response_body_kib = 0
headers = 50
header_kib = 8
log_kib = 1
concurrency = 10
rate_per_s = 100
provisioned = 3
reuse = 100
handles = 64
random_kib = 1
outbound_concurrency = 2
outbound_requests = 4
egress_kib = 128
effects = 7
effect_kib = 8

[functions.api.env]
LEVEL = "debug"
EMPTY = ""

[functions.api.grants]
http = ["https://api.example.com", "*://*.example.org:8443", "http://[::1]:9000"]
networks = ["10.1.0.0/16", "fd00::/8"]
kv = { users = "read-write", sessions = "read" }

[functions.api.cors]
origins = ["https://example.com", "https://*.example.com"]
methods = ["GET", "PUT"]
headers = ["X-Token"]
expose = ["etag"]
credentials = true
max_age_s = 600

[functions.picture]
build = { command = "make", output = "out/picture.wasm", dir = "src" }
cors = { origins = ["*"], headers = ["*"] }

[functions.old]
component = "Cargo.toml"
"##;

#[test]
fn every_key_is_taken() {
    let app = parse(FULL);
    let root = std::env::current_dir().unwrap();
    assert_eq!(app.name.as_str(), "shop");
    assert_eq!((&app.root, app.manifest), (&root, Some(root.join("lacewing.toml"))));
    let names: Vec<&str> = app.functions.iter().map(|function| function.name.as_str()).collect();
    assert_eq!(names, ["api", "picture", "old"], "in the order of the file");

    let [api, picture, old] = &app.functions[..] else { panic!() };
    assert_eq!(api.source, Source::Crate { dir: root.clone() });
    let build = Source::Build {
        command: "make".to_owned(),
        output: root.join("out/picture.wasm"),
        dir: root.join("src"),
    };
    assert_eq!(picture.source, build);
    assert_eq!(old.source, Source::Component(root.join("Cargo.toml")));
    let routes: Vec<String> = api.routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        routes,
        ["/", "GET,DELETE api.example.com/items/{id}", "PUT *.example.com/files/{*rest}"]
    );
    assert!(old.routes.is_empty());
    assert_eq!(api.place.line_column(), (18, 12));
}

#[test]
fn limits_come_from_the_function_then_the_app_then_the_defaults() {
    let app = parse(FULL);
    let expected = Limits {
        memory_bytes: 64 << 20,
        cpu: Duration::from_millis(200),
        deadline: Duration::from_secs(5),
        init_cpu: Duration::from_secs(2),
        fuel: Some(1_000_000),
        table_elements: 1000,
        instances: 10,
        memories: 2,
        request_body_bytes: Some(16 << 10),
        response_body_bytes: Some(0),
        headers: 50,
        header_bytes: 8 << 10,
        log_bytes: 1 << 10,
        concurrency: 10,
        rate_per_s: Some(100),
        provisioned: 3,
        reuse: 100,
        handles: 64,
        random_bytes: 1 << 10,
        outbound_concurrency: 2,
        outbound_requests: 4,
        egress_bytes: 128 << 10,
        effects: 7,
        effect_bytes: 8 << 10,
    };
    assert_eq!(app.functions[0].limits, expected);
    let written: Vec<LimitKey> =
        app.functions[0].written_limits.iter().map(|(key, _)| *key).collect();
    assert_eq!(written, LimitKey::ALL);
    let defaults =
        Limits { memory_bytes: 32 << 20, cpu: Duration::from_millis(200), ..Limits::default() };
    assert_eq!(app.functions[1].limits, defaults);
    let written: Vec<String> = app.functions[1]
        .written_limits
        .iter()
        .map(|(key, place)| format!("{key} {place:?}"))
        .collect();
    assert_eq!(written, ["memory_mib lacewing.toml:11:14", "cpu_ms lacewing.toml:12:10"]);
}

#[test]
fn stores_have_bounds_and_grants_name_them() {
    let app = parse(FULL);
    let grants: Vec<String> = app.functions[0]
        .grants
        .kv
        .iter()
        .map(|grant| {
            let KvStore { id, max_bytes, max_value_bytes } = &*grant.store;
            format!("{} {} {id} {max_bytes} {max_value_bytes}", grant.name, grant.access)
        })
        .collect();
    let mib = 1 << 20;
    assert_eq!(
        grants,
        [
            format!("users read-write shop/users {} {}", 5 * mib, 6 << 10),
            format!("sessions read shop/sessions {} {mib}", 1024 * mib),
        ]
    );
    assert!(app.functions[1].grants.kv.is_empty());
}

#[test]
fn options_are_the_functions_unless_the_host_does_its_cors() {
    let app = parse(
        r#"
app = "shop"
functions.own.component = "src/lib.rs"
functions.own.routes = ["/own", { path = "/list", methods = ["GET"] }]
functions.shared = { component = "src/lib.rs", routes = ["/shared"], cors.origins = ["*"] }
"#,
    );
    let methods = |function: usize, route: usize| &app.functions[function].routes[route].methods;
    assert_eq!(methods(0, 0), &Methods::Every);
    assert_eq!(methods(0, 1), &Methods::Only(vec![Method::GET]));
    assert_eq!(methods(1, 0), &Methods::Any);
}

#[test]
fn environment_grants_and_cors() {
    let app = parse(FULL);
    let env = |function: &Function| {
        function.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    assert_eq!(env(&app.functions[0]), ["REGION=eu", "LEVEL=debug", "EMPTY="]);
    assert_eq!(env(&app.functions[1]), ["REGION=eu", "LEVEL=info"]);

    let grants = &app.functions[0].grants;
    let http: Vec<String> = grants.http.iter().map(ToString::to_string).collect();
    assert_eq!(http, ["https://api.example.com", "*://*.example.org:8443", "http://[::1]:9000"]);
    let networks: Vec<String> = grants.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.1.0.0/16", "fd00::/8"]);
    assert_eq!(app.functions[1].grants, WrittenGrants::default());

    let cors = app.functions[0].cors.as_ref().unwrap();
    assert!(
        cors.origins.allow("https://example.com") && cors.origins.allow("https://a.example.com")
    );
    assert!(!cors.origins.allow("https://example.org"));
    assert_eq!(cors.methods, [Method::GET, Method::PUT]);
    assert_eq!(cors.headers, Headers::Only(vec!["x-token".parse().unwrap()]));
    assert_eq!(cors.expose, Headers::Only(vec!["etag".parse().unwrap()]));
    assert!(cors.credentials);
    assert_eq!(cors.max_age, Some(Duration::from_secs(600)));
    let open = app.functions[1].cors.as_ref().unwrap();
    assert_eq!((&open.origins, &open.headers), (&Origins::Any, &Headers::Any));
    assert_eq!(open.methods, [Method::GET, Method::HEAD, Method::POST]);
    assert_eq!((open.credentials, open.max_age), (false, None));
}

#[test]
fn two_readings_of_the_same_are_equal_wherever_it_stands() {
    let one = parse("app = \"a\"\nfunctions.f.routes = [\"/\"]\nfunctions.f.limits.cpu_ms = 5\n");
    let other = parse("# moved\n\napp='a'\n[functions.f]\nroutes=['/']\nlimits = {cpu_ms=5}");
    assert_eq!(one, other);
    assert_ne!(
        one,
        parse("app = \"a\"\nfunctions.f.routes = [\"/x\"]\nfunctions.f.limits.cpu_ms = 5\n")
    );
}

#[test]
fn the_hosts_own_variables_are_not_the_manifests() {
    let text = "app = \"a\"\n[functions.f.env]\nLACEWING_TENANT = \"other\"\n";
    assert_eq!(
        report(text),
        "error: `LACEWING_TENANT` is reserved: the host sets all variables that begin with `LACEWING_`\n --> lacewing.toml:3:1\n  |\n3 | LACEWING_TENANT = \"other\"\n  | ^^^^^^^^^^^^^^^\n  = help: call the variable `TENANT` or `APP_TENANT`"
    );
    let text = "app = \"a\"\ndefaults.env.LACEWING_ = \"\"\nfunctions.f.env.LACEWING = \"mine\"\n";
    let report = report(text);
    assert!(report.contains("call the variable a name of your own"), "{report}");
    assert_eq!(report.matches("error: ").count(), 1, "{report}");
}

#[test]
fn an_environment_has_a_bound() {
    let text = format!("app = \"a\"\nfunctions.f.env.BIG = \"{}\"\n", "x".repeat(65_536));
    assert_eq!(
        report(&text),
        "error: the environment of function `f` has 65539 bytes, over the 65536 that are copied into a sandbox\n --> lacewing.toml:2:11\n  |\n2 | functions.f.env.BIG = \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\n  |           ^"
    );
}

#[test]
fn arrays_have_a_bound() {
    let list = |count: usize| (0..count).map(|n| format!("\"/{n}\",\n")).collect::<String>();
    let text = |count: usize| format!("app = \"a\"\nfunctions.f.routes = [\n{}]\n", list(count));
    assert_eq!(report(&text(1000)), "");
    assert_eq!(
        report(&text(1001)),
        "error: `routes` has 1001 items, and takes 1000\n    --> lacewing.toml:1003:1\n     |\n1003 | \"/1000\",\n     | ^^^^^^^"
    );
}

#[test]
fn findings_stop_at_their_bound() {
    let keys: String = (0..1000).map(|number| format!("x{number} = 1\n")).collect();
    let findings = App::parse(&ManifestText::new("lacewing.toml", keys)).unwrap_err();
    let (more, shown) = findings.split_last().unwrap();
    assert_eq!(shown.len(), 64);
    assert_eq!(
        more.to_string(),
        "error: there are more errors than these: correct these and try again\n --> lacewing.toml"
    );
}

/// Reads a file of some content, or what else is made at the path, and gives the findings with
/// `ROOT` for the directory.
fn load(make: impl FnOnce(&Path), name: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let findings = match App::load(&dir.path().join(name)) {
        Ok((app, findings)) => {
            assert_eq!(app.root, dir.path());
            findings
        }
        Err(findings) => findings,
    };
    print(&findings, dir.path())
}

#[test]
fn a_manifest_is_found_in_its_directory() {
    let make = |dir: &Path| {
        fs::write(dir.join("lacewing.toml"), "app = \"a\"\nfunctions.f.component = \"f.wasm\"\n")
            .unwrap();
        fs::write(dir.join("f.wasm"), "").unwrap();
    };
    assert_eq!(load(make, ""), "");
    assert_eq!(load(make, "lacewing.toml"), "");
}

/// The developer of a single app is the operator, and waits for no pipe all the same.
#[test]
fn a_pipe_is_neither_a_manifest_nor_a_component() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let pipe = |path: &Path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    let special = "error: this is a device, pipe or socket, and a text file was expected";
    let said = load(|dir| pipe(&dir.join("lacewing.toml")), "");
    assert_eq!(said, format!("{special}\n --> ROOT/lacewing.toml"));
    let named = load(
        |dir| {
            pipe(&dir.join("x.wasm"));
            let text = "app = \"a\"\nfunctions.f.component = \"x.wasm\"\n";
            fs::write(dir.join("lacewing.toml"), text).unwrap();
        },
        "",
    );
    let special = "error: `ROOT/x.wasm` is not a regular file; a component was expected\n";
    assert!(named.starts_with(special), "{named}");
    let dir = tempfile::tempdir().unwrap();
    pipe(&dir.path().join("x.wasm"));
    let bare = App::for_component(&dir.path().join("x.wasm")).unwrap_err();
    assert!(print(&bare, dir.path()).starts_with(special));
}

/// In a host of tenants a component lies below its app's folder, or in a folder that the operator
/// allows.
#[test]
fn a_component_lies_where_the_operator_allows() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["app/in.wasm", "shared/x.wasm", "other/x.wasm"] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    let app = dir.path().join("app");
    let terms = Terms { component_dirs: Some(vec![dir.path().join("shared")]), ..Terms::free() };
    let read = |component: &str, terms: &Terms| {
        let text = format!("app = \"a\"\nfunctions.f.component = {component:?}\n");
        fs::write(app.join("lacewing.toml"), text).unwrap();
        let read = App::load_on(&app, terms);
        read.map_or_else(|findings| print(&findings, dir.path()), |_| "taken".to_owned())
    };
    let other = dir.path().join("other/x.wasm").display().to_string();
    for path in ["in.wasm", "../app/in.wasm", "../shared/x.wasm"] {
        assert_eq!(read(path, &terms), "taken", "{path}");
    }
    for path in ["../other/x.wasm", "../shared/../other/x.wasm", &*other] {
        assert_eq!(read(path, &Terms::free()), "taken", "{path}");
        let said = read(path, &terms);
        let text = format!(
            "error: {path:?} leads out of the app's folder, by its path or by a symbolic link\n"
        );
        assert!(said.starts_with(&text.replace(dir.path().to_str().unwrap(), "ROOT")), "{said}");
        assert!(said.ends_with("\n  = help: put the component into the folder that the manifest is in; the operator can allow another folder in the host file, with `component_dirs` of the tenant"), "{said}");
    }
}

#[test]
fn files_that_cannot_be_read_as_a_manifest() {
    let write =
        |bytes: Vec<u8>| move |dir: &Path| fs::write(dir.join("lacewing.toml"), bytes).unwrap();
    assert_eq!(
        load(|_| (), ""),
        "error: there is no such file\n --> ROOT/lacewing.toml\n  = help: `lacewing new` makes a directory with a manifest"
    );
    assert_eq!(load(|_| (), "shop.toml"), "error: there is no such file\n --> ROOT/shop.toml");
    let directory = |dir: &Path| fs::create_dir(dir.join("lacewing.toml")).unwrap();
    let is_directory =
        "error: this is a directory, and a text file was expected\n --> ROOT/lacewing.toml";
    assert_eq!(load(directory, ""), is_directory);
    assert_eq!(load(directory, "lacewing.toml"), is_directory);
    assert_eq!(
        load(write(b"app = \"a\"\nx = \"\xff\"\n".to_vec()), ""),
        "error: this is not UTF-8 text: line 2 holds the first wrong byte, at offset 15\n --> ROOT/lacewing.toml"
    );
    assert_eq!(
        load(write(b"\0asm\x0d\0\x01\0".to_vec()), "lacewing.toml"),
        "error: this is a Wasm file, and a text file was expected\n --> ROOT/lacewing.toml\n  = help: a component can be served without a manifest: `lacewing up FILE.wasm`"
    );
    assert_eq!(
        load(write(vec![b'#'; 256 * 1024 + 1]), ""),
        "error: this is larger than 256 KiB, the most that is read\n --> ROOT/lacewing.toml\n  = help: make several apps of it; in a host file, `max_manifest_kib` is the most for every manifest"
    );
    let longest = load(write(vec![b'#'; 256 * 1024]), "");
    assert!(longest.starts_with("error: the manifest is empty\n"), "{longest}");
    let socket = |dir: &Path| {
        drop(std::os::unix::net::UnixListener::bind(dir.join("lacewing.toml")).unwrap())
    };
    assert_eq!(
        load(socket, ""),
        "error: this is a device, pipe or socket, and a text file was expected\n --> ROOT/lacewing.toml"
    );
}

#[test]
fn a_function_needs_code() {
    let make = |dir: &Path| {
        fs::write(dir.join("lacewing.toml"), "app = \"a\"\n\n[functions.f]\n").unwrap()
    };
    assert_eq!(
        load(make, ""),
        r#"error: function `f` does not say where its code comes from
 --> ROOT/lacewing.toml:3:12
  |
3 | [functions.f]
  |            ^
  = help: add `crate = "DIR"`, `component = "FILE.wasm"` or `build = { command = "...", output = "FILE.wasm" }`; without these keys the code is the Rust package beside the manifest, but there is no Cargo.toml"#
    );
}

#[test]
fn a_bare_component_is_an_app() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("My_Function.v2.wasm");
    fs::write(&file, "").unwrap();
    let (app, findings) = App::for_component(&file).unwrap();
    assert!(findings.is_empty());
    assert_eq!(
        (app.name.as_str(), app.root.as_path(), app.manifest),
        ("my-function-v2", dir.path(), None)
    );
    let [function] = &app.functions[..] else { panic!() };
    assert_eq!(
        (function.name.as_str(), &function.source),
        ("my-function-v2", &Source::Component(file))
    );
    let [route] = &function.routes[..] else { panic!() };
    assert_eq!((route.path.as_str(), &route.methods), ("/{*path}", &Methods::Every));
    assert_eq!(function.limits, Limits::default());

    let error = |path: &Path| print(&App::for_component(path).unwrap_err(), dir.path());
    assert_eq!(
        error(dir.path()),
        "error: `ROOT` is a directory, and a component was expected\n --> ROOT"
    );
    assert_eq!(
        error(&dir.path().join("x.wasm")),
        "error: there is no file `ROOT/x.wasm`\n --> ROOT/x.wasm"
    );
}

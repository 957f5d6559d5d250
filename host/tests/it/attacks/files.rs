//! Manifests and components that are written, or put somewhere, to keep the host at reading them,
//! or to have another file read.
//!
//! The host reads each of them together with a change of the neighbour's, which has to be swapped
//! in whatever becomes of the suspect.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
};

use super::{Host, Target};
use crate::{
    client,
    components::Core,
    process::Up,
    tenants::{NEIGHBOUR, SUSPECT},
};

const REFUSED: &str =
    "warning: 1 app refused: suspect/suspect (its previous revisions stay in place)";

/// The suspect, whose answer is "mine".
fn target() -> Target {
    Target::core(&Core { body: "mine", ..Core::default() })
}

async fn goes_on(host: &Host) {
    let reply = client::get(host.address(), SUSPECT, "/").await;
    assert_eq!((reply.status, reply.text()), (200, "mine"), "{}", host.said());
}

/// A manifest of the suspect's whose component is this.
fn manifest(component: &str) -> String {
    format!("app = \"suspect\"\n[functions.suspect]\ncomponent = {component:?}\nroutes = [\"/\"]\n")
}

fn pipe(path: &Path) {
    let _ = fs::remove_file(path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn link(target: impl AsRef<Path>, path: &Path) {
    let _ = fs::remove_file(path);
    symlink(target, path).unwrap();
}

/// Lines until there are so many bytes.
fn lines(head: &str, bytes: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let line = line(number);
        if text.len() + line.len() > bytes {
            break;
        }
        text += &line;
    }
    text
}

/// Manifests of a megabyte, each with as many mistakes as there is room for, and what is said of
/// it.
fn bombs() -> [(String, &'static str); 4] {
    let items = |key: &str, item: &dyn Fn(usize) -> String| {
        lines("app = \"suspect\"\n", 1 << 20, |number| {
            let open = match number % 1000 {
                0 => format!(
                    "{}[functions.f{number}]\n{key} = [",
                    if number == 0 { "" } else { "]\n" }
                ),
                _ => String::new(),
            };
            format!("{open}{},", item(number))
        }) + "]\n"
    };
    let env = "app = \"suspect\"\n[functions.f]\n[functions.f.env]\n";
    [
        (items("routes", &|_| "\"/\"".to_owned()), " more errors"),
        (items("grants.http", &|number| format!("\"x{number}\"")), " more errors"),
        (items("cors.methods", &|number| format!("\"gett{number}\"")), " more errors"),
        (lines(env, 1 << 20, |number| format!("LACEWING_{number} = \"\"\n")), " more errors"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_a_hundred_thousand_mistakes() {
    target()
        .settings("max_manifest_kib = 1024")
        .attacked(async |host| {
            for (bomb, said) in bombs() {
                fs::write(host.path("suspect/lacewing.toml"), bomb).unwrap();
                let before = host.said().len();
                host.reads_again(said);
                let shown = host.said()[before..].matches("error: ").count();
                assert!(shown <= 102, "{shown} errors are shown");
                goes_on(host).await;
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_mistakes_when_the_host_starts() {
    for (bomb, said) in bombs() {
        let dir = tempfile::tempdir().unwrap();
        let mut text = "max_manifest_kib = 1024\nmax_sandboxes = 64\n".to_owned();
        for name in ["suspect", "neighbour"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            text += &format!("[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [\"{name}\"]\n");
        }
        fs::write(dir.path().join("host.toml"), text).unwrap();
        fs::write(dir.path().join("suspect/lacewing.toml"), bomb).unwrap();
        let hello = crate::harness::component("hello");
        fs::copy(hello, dir.path().join("neighbour/hello.wasm")).unwrap();
        let text = manifest("hello.wasm").replace("suspect", "neighbour");
        fs::write(dir.path().join("neighbour/lacewing.toml"), text).unwrap();
        let up = Up::start(&["--host", dir.path().join("host.toml").to_str().unwrap()]);
        let reply = client::get(up.address, NEIGHBOUR, "/").await;
        assert_eq!(reply.text(), "Hello, world!\n", "{}", up.said());
        up.line(said);
        up.line("warning: 1 app refused: ");
    }
}

/// Each function has a copy of all variables: a hundred kilobytes ask for gigabytes. And the router
/// has a table for each method.
#[tokio::test(flavor = "multi_thread")]
async fn small_manifests_that_ask_for_much_memory() {
    target()
        .attacked(async |host| {
            let path = host.path("suspect/lacewing.toml");
            fs::write(host.path("suspect/x"), "").unwrap();
            let variable = "x".repeat(60_000);
            let head =
                format!("app = \"suspect\"\n[defaults.env]\nA = \"{variable}\"\n[functions]\n");
            let functions = lines(&head, 250_000, |n| format!("f{n}.component = \"x\"\n"));
            fs::write(&path, functions).unwrap();
            host.reads_again("the environments of all functions take more than 16 MiB together");
            let head = "app = \"suspect\"\n[functions.f]\ncomponent = \"x\"\nroutes = [\n";
            let route = |n| format!("{{ path = \"/{{a}}/{n}\", methods = [\"M{n}\"] }},\n");
            let methods: String = (0..1000).map(route).collect();
            fs::write(&path, format!("{head}{methods}]\n")).unwrap();
            host.reads_again("the routes of the app name 65 methods up to here, and may name 64");
            goes_on(host).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_have_no_end_or_are_no_files() {
    target()
        .attacked(async |host| {
            let path = host.path("suspect/lacewing.toml");
            let special = "error: this is a device, pipe or socket, and a text file was expected";
            let outside =
                "error: this is, or is behind, a symbolic link that leads out of the app's folder";
            pipe(&path);
            host.reads_again(special);
            fs::remove_file(&path).unwrap();
            let socket = UnixListener::bind(&path).unwrap();
            host.reads_again(special);
            drop(socket);
            for target in
                ["/dev/zero", "/proc/kmsg", "../neighbour/lacewing.toml", "/proc/self/fd/0"]
            {
                link(target, &path);
                host.reads_again(outside);
            }
            fs::remove_file(&path).unwrap();
            fs::write(&path, "#".repeat(256 * 1024 + 1)).unwrap();
            host.reads_again("error: this is larger than 256 KiB, the most that is read");
            // A hole of a terabyte.
            fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
            host.reads_again("error: this is larger than 256 KiB, the most that is read");
            goes_on(host).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_are_no_files() {
    target()
        .attacked(async |host| {
            let component = host.path("suspect/x.wasm");
            let says = |component: &str, said: &str| {
                fs::write(host.path("suspect/lacewing.toml"), manifest(component)).unwrap();
                host.reads_again(said);
            };
            let special = "is not a regular file; a component was expected";
            let outside = "leads out of the app's folder, by its path or by a symbolic link";
            pipe(&component);
            says("x.wasm", special);
            fs::remove_file(&component).unwrap();
            let socket = UnixListener::bind(&component).unwrap();
            says("x.wasm", special);
            drop(socket);
            for target in ["/dev/zero", "/proc/kmsg", "/dev/fd/0"] {
                link(target, &component);
                says("x.wasm", outside);
                says(target, outside);
            }
            goes_on(host).await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_component() {
    target()
        .attacked(async |host| {
            let folder = host.path("neighbour");
            fs::create_dir(folder.join("sub")).unwrap();
            let theirs = folder.join("sub/theirs.wasm");
            fs::copy(crate::harness::component("hello"), &theirs).unwrap();
            for (name, target) in [
                ("file", "../neighbour/sub/theirs.wasm"),
                ("folder", "../neighbour/sub"),
                ("parent", ".."),
                ("chain", "folder/theirs.wasm"),
            ] {
                symlink(target, host.path("suspect").join(name)).unwrap();
            }
            for path in [
                theirs.to_str().unwrap(),
                "../neighbour/sub/theirs.wasm",
                "./x/../../neighbour/sub/theirs.wasm",
                "parent/../../neighbour/sub/theirs.wasm",
                "file",
                "folder/theirs.wasm",
                "parent/neighbour/sub/theirs.wasm",
                "chain",
            ] {
                fs::write(host.path("suspect/lacewing.toml"), manifest(path)).unwrap();
                host.reads_again(&format!("error: {path:?} leads out of the app's folder"));
                host.reads_again(REFUSED);
                goes_on(host).await;
            }
        })
        .await;
}

/// The component was a file when it was deployed, and is none by now. The manifest is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_exchanged_between_two_readings() {
    let made = tempfile::tempdir().unwrap();
    let core = Core { body: "mine", ..Core::default() };
    let mine = crate::components::write_component(made.path(), "mine.wasm", &core.lean());
    Target::of(&mine)
        .attacked(async |host| {
            fs::create_dir(host.path("suspect/sub")).unwrap();
            let component = host.path("suspect/sub/x.wasm");
            fs::copy(&mine, &component).unwrap();
            fs::write(host.path("suspect/lacewing.toml"), manifest("sub/x.wasm")).unwrap();
            host.reads_again("Swapped ");
            goes_on(host).await;
            pipe(&component);
            host.reads_again(REFUSED);
            link("../../neighbour/theirs.wasm", &component);
            fs::copy(crate::harness::component("hello"), host.path("neighbour/theirs.wasm"))
                .unwrap();
            host.reads_again(REFUSED);
            // Its folder becomes a link to another one, which has a file of that name.
            fs::create_dir(host.path("neighbour/sub")).unwrap();
            fs::rename(host.path("neighbour/theirs.wasm"), host.path("neighbour/sub/x.wasm"))
                .unwrap();
            fs::rename(host.path("suspect/sub"), host.path("suspect/before")).unwrap();
            link("../neighbour/sub", &host.path("suspect/sub"));
            host.reads_again(REFUSED);
            goes_on(host).await;
            // Put right, it is taken again.
            fs::remove_file(host.path("suspect/sub")).unwrap();
            fs::create_dir(host.path("suspect/sub")).unwrap();
            fs::copy(&mine, &component).unwrap();
            host.reads_again("Swapped neighbour/");
            goes_on(host).await;
        })
        .await;
}

/// A pipe stands under the component's name for every other moment, while the host reads its files
/// again and again.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_comes_and_goes_under_a_components_name() {
    let made = tempfile::tempdir().unwrap();
    let core = Core { body: "mine", ..Core::default() };
    let mine = crate::components::write_component(made.path(), "mine.wasm", &core.lean());
    Target::of(&mine)
        .attacked(async |host| {
            let (component, spare) = (host.path("suspect/x.wasm"), host.path("suspect/spare"));
            fs::copy(&mine, &component).unwrap();
            pipe(&host.path("suspect/pipe"));
            fs::write(host.path("suspect/lacewing.toml"), manifest("x.wasm")).unwrap();
            let over = std::sync::atomic::AtomicBool::new(false);
            let ordering = std::sync::atomic::Ordering::Relaxed;
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(ordering) {
                        fs::rename(&component, &spare).unwrap();
                        fs::hard_link(host.path("suspect/pipe"), &component).unwrap();
                        fs::rename(&spare, &component).unwrap();
                    }
                });
                for _ in 0..20 {
                    host.reads_again("Swapped neighbour/");
                }
                over.store(true, ordering);
            });
            goes_on(host).await;
            host.reads_again("Swapped neighbour/");
            goes_on(host).await;
        })
        .await;
}

/// The operator's word for a folder holds for that folder, and not for what is behind a link in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_a_folder_that_the_operator_allows() {
    let made = tempfile::tempdir().unwrap();
    let core = Core { body: "mine", ..Core::default() };
    let mine = crate::components::write_component(made.path(), "mine.wasm", &core.lean());
    Target::of(&mine)
        .attacked(async |host| {
            fs::copy(crate::harness::component("hello"), host.path("neighbour/theirs.wasm"))
                .unwrap();
            symlink(host.path("neighbour/theirs.wasm"), made.path().join("link")).unwrap();
            symlink(host.path("neighbour"), made.path().join("folder")).unwrap();
            for name in ["link", "folder/theirs.wasm", "../etc/passwd"] {
                let path = made.path().join(name).display().to_string();
                fs::write(host.path("suspect/lacewing.toml"), manifest(&path)).unwrap();
                host.reads_again(&format!("error: {path:?} leads out of the app's folder"));
            }
            let path = mine.display().to_string();
            fs::write(host.path("suspect/lacewing.toml"), manifest(&path)).unwrap();
            host.reads_again("Swapped neighbour/");
            goes_on(host).await;
        })
        .await;
}

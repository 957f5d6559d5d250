//! With the machine's own cargo, on packages without dependencies: a second each.

use std::fs;

use super::*;

const HELLO: &str = "#[unsafe(no_mangle)]
pub extern \"C\" fn greet(n: usize) -> usize { format!(\"hello {n}\").len() }
";

struct Crate {
    dir: tempfile::TempDir,
}

impl Crate {
    fn new(cargo_toml: &str, lib: &str) -> Crate {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("src")).unwrap();
        let package = "[package]\nname = \"tiny-one\"\nversion = \"1.0.0\"\nedition = \"2024\"\n";
        fs::write(dir.path().join("Cargo.toml"), format!("{package}{cargo_toml}")).unwrap();
        fs::write(dir.path().join("src/lib.rs"), lib).unwrap();
        Crate { dir }
    }

    fn build(&self) -> Result<Built, BuildError> {
        build(self.dir.path(), &Toolchain::from_env(), &Console::silent())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }
}

/// The bytes of each linear memory at the start: those of the core modules in a component.
fn initial_memory_bytes(component: &[u8]) -> Vec<u64> {
    let mut memories = Vec::new();
    read_sections(component, &mut |id, body| {
        // A core module in a component, in which a memory section is a count, then flags and
        // minimum for each.
        if id == 1 && body.starts_with(b"\0asm") {
            read_sections(body, &mut |id, mut body| {
                if id == 5 && leb(&mut body) > 0 {
                    body = &body[1..];
                    memories.push(leb(&mut body) * 65_536);
                }
            });
        }
    });
    memories
}

fn read_sections(module: &[u8], each: &mut dyn FnMut(u8, &[u8])) {
    let mut rest = &module[8..];
    while let Some((&id, after)) = rest.split_first() {
        rest = after;
        let length = usize::try_from(leb(&mut rest)).unwrap();
        let (body, after) = rest.split_at(length);
        each(id, body);
        rest = after;
    }
}

fn leb(bytes: &mut &[u8]) -> u64 {
    let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    let (number, rest) = bytes.split_at(length);
    *bytes = rest;
    number.iter().rev().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f))
}

#[test]
fn a_library_becomes_a_component_whatever_its_crate_type() {
    let tiny = Crate::new("", HELLO);
    let built = tiny.build().unwrap();
    assert!(built.component.ends_with("wasm32-wasip2/release/tiny_one.wasm"), "{built:?}");
    assert!(!built.fresh);
    assert!(tiny.build().unwrap().fresh);
    // 13: a component, not a core module.
    assert_eq!(fs::read(&built.component).unwrap()[..5], *b"\0asm\x0d");
    assert!(built.sources.roots.contains(&tiny.path("").components().collect()));
    assert!(built.component.starts_with(&built.sources.ignored[0]), "{built:?}");
}

#[test]
fn the_memory_has_room_for_a_first_allocation_after_the_static_data() {
    let tiny = Crate::new("", HELLO);
    let component = fs::read(tiny.build().unwrap().component).unwrap();
    assert_eq!(initial_memory_bytes(&component), [256 * 1024]);

    let with_static = format!("pub static BIG: [u8; 4 << 20] = [7; 4 << 20];\n{HELLO}")
        .replace(".len() }", ".len() + usize::from(BIG[n]) }");
    let tiny = Crate::new("", &with_static);
    let component = fs::read(tiny.build().unwrap().component).unwrap();
    let bytes = initial_memory_bytes(&component);
    let room = bytes[0].checked_sub((4 << 20) + u64::from(profile::STACK_BYTES)).unwrap();
    assert!(room >= u64::from(profile::INITIAL_HEAP_BYTES), "{bytes:?}");
}

#[test]
fn the_users_linker_flags_win() {
    let tiny = Crate::new("", HELLO);
    fs::create_dir(tiny.path(".cargo")).unwrap();
    let flags = "[target.wasm32-wasip2]\nrustflags = [\"-Clink-arg=--initial-heap=1048576\"]\n";
    fs::write(tiny.path(".cargo/config.toml"), flags).unwrap();
    let component = fs::read(tiny.build().unwrap().component).unwrap();
    assert_eq!(initial_memory_bytes(&component), [(1024 + 192) * 1024]);
}

#[test]
fn a_binary_becomes_a_component() {
    let tiny = Crate::new("", "");
    fs::remove_file(tiny.path("src/lib.rs")).unwrap();
    fs::write(tiny.path("src/main.rs"), "fn main() { println!(\"hello\") }").unwrap();
    let built = tiny.build().unwrap();
    assert!(built.component.ends_with("wasm32-wasip2/release/tiny-one.wasm"), "{built:?}");
}

#[test]
fn a_compile_error_is_rustcs_own() {
    let tiny = Crate::new("", "pub fn greet() -> u32 { \"hello\" }");
    let error = tiny.build().unwrap_err();
    assert_eq!(error.to_string(), "`tiny-one` did not compile; cargo's messages are above");
    let BuildError::Compile { output, .. } = error else { panic!("{error:?}") };
    assert!(output.contains("error[E0308]: mismatched types\n --> src/lib.rs:1:25"), "{output}");
}

#[test]
fn path_dependencies_are_sources() {
    let (lower, upper) = (Crate::new("", "pub fn n() -> usize { 7 }"), Crate::new("", ""));
    let manifest = format!(
        "[package]\nname = \"upper\"\nedition = \"2024\"\n[dependencies]\ntiny-one = {{ path = {:?} }}\n",
        lower.path("")
    );
    fs::write(upper.path("Cargo.toml"), manifest).unwrap();
    fs::write(
        upper.path("src/lib.rs"),
        "#[unsafe(no_mangle)]\npub extern \"C\" fn n() -> usize { tiny_one::n() }",
    )
    .unwrap();
    let roots = upper.build().unwrap().sources.roots;
    let dir = |tiny: &Crate| -> PathBuf { tiny.path("").components().collect() };
    assert!(roots.contains(&dir(&lower)) && roots.contains(&dir(&upper)), "{roots:?}");
    assert!(roots.contains(&upper.path("Cargo.lock")), "{roots:?}");
}

#[test]
fn everything_that_the_build_reads_is_a_source() {
    let tiny = Crate::new("", "");
    let write = |name: &str, text: &str| {
        let path = tiny.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("fn/Cargo.toml", "[package]\nname = \"inner\"\nedition = \"2024\"\n");
    write(
        "fn/build.rs",
        "fn main() {
            println!(\"cargo::rerun-if-changed=../proto/a b.txt\");
            let out = std::env::var(\"OUT_DIR\").unwrap();
            std::fs::write(out + \"/made.rs\", \"\").unwrap();
        }",
    );
    write(
        "fn/src/lib.rs",
        "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));
        #[unsafe(no_mangle)]
        pub extern \"C\" fn n(i: usize) -> u8 {
            concat!(include_str!(\"../static/.well-known/x\"), include_str!(\"../../shared/page\")).as_bytes()[i]
        }",
    );
    write("Cargo.toml", "[workspace]\nmembers = [\"fn\"]\n");
    let read = ["fn/static/.well-known/x", "shared/page", "proto/a b.txt", ".cargo/config.toml"];
    read.iter().for_each(|name| write(name, ""));
    let built = build(&tiny.path("fn"), &Toolchain::from_env(), &Console::silent()).unwrap();
    let files: Vec<PathBuf> =
        built.sources.files.iter().map(|file| file.canonicalize().unwrap_or_default()).collect();
    for name in read {
        assert!(files.contains(&tiny.path(name)), "{name} is not in {files:?}");
    }
    // They may be made later.
    for name in ["fn/.cargo/config.toml", "rust-toolchain.toml"] {
        let named = |file: &PathBuf| file.ends_with(name);
        assert!(built.sources.files.iter().any(named), "{name} is not in {:?}", built.sources);
    }
}

#[test]
fn path_dependencies_of_a_build_that_fails_are_sources() {
    let (lower, upper) = (Crate::new("", "pub fn n() -> usize { oops }"), Crate::new("", ""));
    let manifest = format!(
        "[package]\nname = \"upper\"\nedition = \"2024\"\n[dependencies]\ntiny-one = {{ path = {:?} }}\n",
        lower.path("")
    );
    fs::write(upper.path("Cargo.toml"), manifest).unwrap();
    upper.build().unwrap_err();
    let roots = unbuilt_sources(upper.dir.path(), &Toolchain::from_env()).roots;
    let dir = |tiny: &Crate| -> PathBuf { tiny.path("").components().collect() };
    assert!(roots.contains(&dir(&lower)) && roots.contains(&dir(&upper)), "{roots:?}");
}

#[test]
fn a_directory_that_is_no_package_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let error = build(empty.path(), &Toolchain::from_env(), &Console::silent()).unwrap_err();
    let expected = format!(
        "{} has no Cargo.toml: `crate` names the directory of a Cargo package",
        empty.path().display()
    );
    assert_eq!(error.to_string(), expected);

    let broken = Crate::new("oops", HELLO);
    let error = broken.build().unwrap_err().to_string();
    let expected = format!("cargo cannot read {}: ", broken.path("Cargo.toml").display());
    assert!(error.starts_with(&expected) && !error.contains("error: "), "{error}");
}

#[test]
fn without_cargo_it_says_where_to_get_it() {
    let tiny = Crate::new("", HELLO);
    let toolchain = Toolchain { cargo: "cargo-is-not-here".into(), ..Toolchain::from_env() };
    let error = build(tiny.dir.path(), &toolchain, &Console::silent()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot run `cargo-is-not-here`: it is not installed, or not on the PATH. Functions are compiled by Rust's own tools: see https://rustup.rs"
    );
}

#[test]
fn flags_for_the_host_do_not_reach_a_function() {
    let tiny = Crate::new("", HELLO);
    let package = Package::read(tiny.dir.path(), &Toolchain::from_env()).unwrap();
    let mut cargo = Toolchain::from_env().cargo(tiny.dir.path());
    cargo.args(arguments(&package, &tiny.path("target"), false));
    let removed: Vec<_> = cargo.get_envs().filter(|(_, value)| value.is_none()).collect();
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        assert!(removed.iter().any(|(removed, _)| *removed == name), "{name}");
    }
}

#[test]
fn workspaces_that_share_a_target_directory_do_not_share_components() {
    let package = |root: &str, target_dir: &str| Package {
        name: "hello".to_owned(),
        manifest: Path::new(root).join("Cargo.toml"),
        target: FunctionTarget::Library,
        workspace_root: root.into(),
        target_dir: target_dir.into(),
    };
    assert_eq!(target_dir(&package("/a", "/a/target")), Path::new("/a/target/lacewing"));
    let shared = |root| target_dir(&package(root, "/shared"));
    assert!(shared("/a").starts_with("/shared/lacewing"));
    assert_ne!(shared("/a"), shared("/b"));
}

#[test]
fn kept_output_is_the_last_of_it() {
    let text = format!("{}last\n", "é\n".repeat(KEPT_OUTPUT_BYTES));
    let progress = Console::silent().progress("");
    let kept = pass_on(Some(text.as_bytes()), &progress);
    assert!(kept.ends_with("last\n") && kept.len() <= 2 * KEPT_OUTPUT_BYTES, "{}", kept.len());
}

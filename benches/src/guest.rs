//! Components for the benches.

use std::path::{Path, PathBuf};

use lacewing::cli::{
    build::{self, Toolchain},
    console::Console,
};

/// Where a guest's stack and first heap lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As rustc links for the target when nobody says otherwise: what other people's components
    /// look like.
    Default,
    /// As `lacewing build` links: a small stack, and a first heap that needs no growth.
    Lean,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Layout::Default => "default",
            Layout::Lean => "lean",
        }
    }

    fn flags(self) -> Vec<String> {
        match self {
            Layout::Default => Vec::new(),
            Layout::Lean => vec![
                format!("-Clink-arg=-zstack-size={}", build::STACK_BYTES),
                format!("-Clink-arg=--initial-heap={}", build::INITIAL_HEAP_BYTES),
            ],
        }
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().unwrap_or(root)
}

/// The component of one of the repository's examples, as `lacewing build` makes it.
///
/// # Panics
/// If it does not build: there is nothing to measure then.
pub fn example(name: &str) -> PathBuf {
    let dir = root().join("examples").join(name);
    let console = Console::for_stderr(Default::default());
    let built = build::build_crate(&dir, &Toolchain::from_env(), &console);
    built.unwrap_or_else(|error| panic!("{error}")).component
}

/// The component of a guest of `benches/guests`. Both layouts are compiled alike, with what
/// `lacewing build` sets.
///
/// # Panics
/// If it does not build.
pub fn guest(name: &str, layout: Layout) -> PathBuf {
    build_guest("benches/guests", name, layout)
}

/// The component of a hostile guest of the host's tests.
///
/// # Panics
/// If it does not build.
pub fn hostile(name: &str) -> PathBuf {
    build_guest("host/tests/guests", name, Layout::Default)
}

fn build_guest(package: &str, name: &str, layout: Layout) -> PathBuf {
    // The build of an example adds the Wasm target where it is missing, and knows the target
    // directory.
    let hello = example("hello");
    let target_dir = hello
        .ancestors()
        .find(|dir| dir.ends_with("lacewing"))
        .unwrap_or_else(|| panic!("{} is in no target directory", hello.display()));
    let status = Toolchain::from_env()
        .cargo(&root().join(package))
        .args(["rustc", "--quiet", "--release", "--example", name])
        .args(["--config", "profile.release.codegen-units=1"])
        .args(["--config", "profile.release.lto=\"fat\""])
        .args(["--config", "profile.release.strip=\"debuginfo\""])
        .args(["--target", build::WASM_TARGET, "--target-dir"])
        .arg(target_dir)
        .arg("--")
        .args(layout.flags())
        .status();
    assert!(status.is_ok_and(|status| status.success()), "the guest {name} does not build");
    let file = format!("{}.wasm", name.replace('-', "_"));
    let built = target_dir.join(build::WASM_TARGET).join("release/examples").join(file);
    // The other layout's would take its place.
    let kept = target_dir.join("bench-guests");
    let component = kept.join(format!("{name}.{}.wasm", layout.name()));
    std::fs::create_dir_all(&kept)
        .and_then(|()| std::fs::copy(&built, &component))
        .unwrap_or_else(|error| panic!("{}: {error}", component.display()));
    component
}

//! With a rustc and a rustup of shell script: what is installed on the machine is left alone.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;

/// A directory with a toolchain whose library for the target is not there.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new(sysroot: &str) -> Machine {
        let machine = Machine { dir: tempfile::tempdir().unwrap() };
        let sysroot = machine.path(sysroot);
        let script = format!(
            "case \"$*\" in *target-libdir*) echo {0}/lib/rustlib/{WASM_TARGET}/lib;; *) echo {0};; esac",
            sysroot.display()
        );
        machine.program("rustc", &script);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}.log\n{script}\n", path.display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn ensure(&self) -> Result<(), BuildError> {
        let toolchain = Toolchain {
            cargo: "cargo".into(),
            rustc: Some(self.path("rustc").into()),
            rustup: self.path("rustup").into(),
        };
        ensure(self.dir.path(), &self.path("target"), &toolchain, &Console::silent())
    }

    fn calls(&self, program: &str) -> String {
        fs::read_to_string(self.path(&format!("{program}.log"))).unwrap_or_default()
    }
}

/// A rustup that installs the library into `sysroot`.
fn installs(sysroot: &Path) -> String {
    let libdir = sysroot.join("lib/rustlib").join(WASM_TARGET).join("lib");
    format!("mkdir -p {0} && touch {0}/libstd-0123.rlib", libdir.display())
}

#[test]
fn a_missing_target_is_added_once() {
    let machine = Machine::new("toolchains/stable");
    machine.program("rustup", &installs(&machine.path("toolchains/stable")));
    machine.ensure().unwrap();
    machine.ensure().unwrap();
    assert_eq!(machine.calls("rustup"), "target add --toolchain stable wasm32-wasip2\n");
}

#[test]
fn a_server_out_of_reach_is_named_with_the_script_that_helps() {
    let machine = Machine::new("toolchains/stable");
    machine
        .program("rustup", "echo 'info: downloading\nerror: no route\nCaused by: x' >&2; exit 1");
    let rustup = machine.path("rustup");
    assert_eq!(
        machine.ensure().unwrap_err().to_string(),
        format!(
            "the target wasm32-wasip2 is not installed, and `{} target add --toolchain stable wasm32-wasip2` did not add it: no route. Where rustup's server is out of reach, the script .ci/wasm-target-from-debian in Lacewing's source tree (Debian and its relatives; then set LACEWING_GUEST_RUSTC=/usr/bin/rustc) helps",
            rustup.display()
        )
    );
}

#[test]
fn without_rustup_the_script_is_named() {
    let expected = |sysroot: &Path| {
        format!(
            "the target wasm32-wasip2 is not installed in {}, and there is no rustup that could add it: install Rust from https://rustup.rs, or see whether the script .ci/wasm-target-from-debian in Lacewing's source tree (Debian and its relatives; then set LACEWING_GUEST_RUSTC=/usr/bin/rustc) helps",
            sysroot.display()
        )
    };
    // A compiler of rustup's, but no rustup; then a distribution's compiler.
    let machine = Machine::new("toolchains/stable");
    let error = machine.ensure().unwrap_err().to_string();
    assert_eq!(error, expected(&machine.path("toolchains/stable")));
    let machine = Machine::new("usr");
    machine.program("rustup", "echo unreachable");
    assert_eq!(machine.ensure().unwrap_err().to_string(), expected(&machine.path("usr")));
    assert_eq!(machine.calls("rustup"), "");
}

#[test]
fn a_compiler_that_does_not_know_the_target_is_too_old() {
    let machine = Machine::new("usr");
    machine.program("rustc", "echo 'error: could not find specification for target' >&2; exit 1");
    let rustc = machine.path("rustc");
    assert_eq!(
        machine.ensure().unwrap_err().to_string(),
        format!(
            "`{} --print target-libdir --target wasm32-wasip2` failed: could not find specification for target; functions need Rust 1.82 or newer",
            rustc.display()
        )
    );
}

#[test]
fn a_missing_compiler_is_named() {
    let machine = Machine::new("usr");
    fs::remove_file(machine.path("rustc")).unwrap();
    let rustc = machine.path("rustc");
    assert_eq!(
        machine.ensure().unwrap_err().to_string(),
        format!(
            "cannot run `{}`: it is not installed, or not on the PATH. Functions are compiled by Rust's own tools: see https://rustup.rs",
            rustc.display()
        )
    );
}

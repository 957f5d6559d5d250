//! The profile and memory layout of functions whose own crate does not say.

use std::path::Path;

/// The stack of a function: 128 KiB instead of the linker's 1 MiB.
pub const STACK_BYTES: u32 = 128 * 1024;

/// The heap that a function finds in its initial memory: at least 64 KiB, whole Wasm pages as the
/// linker demands.
///
/// With the stack and up to 64 KiB of static data it makes 256 KiB, and what the data leaves of its
/// pages is heap as well. A first allocation that fits needs no `memory.grow`, so that a sandbox of
/// such a function costs the host no system call. All of the initial memory is overwritten after
/// each invocation, at 0.6 us for each 64 KiB, so that more than most functions need costs every
/// one of them.
pub const INITIAL_HEAP_BYTES: u32 = 64 * 1024;

/// `[profile.release]` for functions: smaller and faster code for a few seconds of compilation.
/// `strip` leaves the names of functions, which traps are reported with.
const RELEASE: [(&str, &str); 3] =
    [("codegen-units", "1"), ("lto", "\"fat\""), ("strip", "\"debuginfo\"")];

/// The linker's arguments for the layout of the memory, as `rustc` takes them.
///
/// They go to `cargo rustc`, not into `RUSTFLAGS`: they concern the last link only, and rustc reads
/// them before the user's own flags from `.cargo/config.toml`, so those win.
pub(super) fn layout_flags() -> [String; 2] {
    [
        format!("-Clink-arg=-zstack-size={STACK_BYTES}"),
        format!("-Clink-arg=--initial-heap={INITIAL_HEAP_BYTES}"),
    ]
}

/// Values for cargo's `--config`: the settings that neither the workspace's `Cargo.toml` nor a
/// variable `CARGO_PROFILE_RELEASE_*` makes.
pub(super) fn release_settings(workspace_root: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(workspace_root.join("Cargo.toml")).unwrap_or_default();
    unset(&text, |name| std::env::var_os(name).is_some())
}

/// A `Cargo.toml` that cannot be read is cargo's to report.
fn unset(cargo_toml: &str, in_env: impl Fn(&str) -> bool) -> Vec<String> {
    let parsed: toml::Table = cargo_toml.parse().unwrap_or_default();
    let release = parsed.get("profile").and_then(|profiles| profiles.get("release"));
    let variable =
        |key: &str| format!("CARGO_PROFILE_RELEASE_{}", key.replace('-', "_").to_uppercase());
    RELEASE
        .iter()
        .filter(|(key, _)| release.is_none_or(|table| table.get(key).is_none()))
        .filter(|(key, _)| !in_env(&variable(key)))
        .map(|(key, value)| format!("profile.release.{key}={value}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_says_nothing_gets_all_settings() {
        let all = unset("[package]\nname = \"x\"", |_| false);
        assert_eq!(
            all,
            [
                "profile.release.codegen-units=1",
                "profile.release.lto=\"fat\"",
                "profile.release.strip=\"debuginfo\""
            ]
        );
    }

    #[test]
    fn settings_of_the_user_are_left_alone() {
        let manifest = "[profile.release]\nlto = false\nstrip = true";
        assert_eq!(unset(manifest, |_| false), ["profile.release.codegen-units=1"]);
        let in_env = |name: &str| name == "CARGO_PROFILE_RELEASE_CODEGEN_UNITS";
        assert_eq!(unset(manifest, in_env), Vec::<String>::new());
    }

    #[test]
    fn the_warning_of_a_slow_layout_names_these_flags() {
        for flag in layout_flags() {
            assert!(lacewing_sandbox::engine::LAYOUT_HELP.contains(&flag), "{flag}");
            let flag = flag.trim_start_matches("-Clink-arg=");
            assert!(lacewing_sandbox::engine::LAYOUT_HELP.contains(flag), "{flag}");
        }
    }

    #[test]
    fn the_initial_heap_is_whole_pages() {
        assert_eq!(INITIAL_HEAP_BYTES % 65_536, 0);
    }
}

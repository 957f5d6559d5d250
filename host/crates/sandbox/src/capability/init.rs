//! The imports of an init: those that give the same result everywhere and at any time.

use wasmtime::{Result, component::Linker};
use wasmtime_wasi::{
    WasiView,
    cli::{WasiCli, WasiCliView},
    filesystem::{WasiFilesystem, WasiFilesystemView},
    p2::bindings::{cli, filesystem, random},
    p3,
    random::WasiRandom,
};
use wasmtime_wasi_io::IoView;

/// Interfaces, each with its minor version. Of random numbers only the seed for hash maps, which WASI allows to be the same
/// each time. Of files what says that there are none: a C library asks before its first line of output.
const INTERFACES: &[(&str, &[&str])] = &[
    ("wasi:cli/environment", &["0.2.", "0.3."]),
    ("wasi:cli/exit", &["0.2."]),
    ("wasi:cli/stderr", &["0.2."]),
    ("wasi:cli/stdin", &["0.2."]),
    ("wasi:cli/stdout", &["0.2."]),
    ("wasi:cli/terminal-input", &["0.2."]),
    ("wasi:cli/terminal-output", &["0.2."]),
    ("wasi:cli/terminal-stderr", &["0.2."]),
    ("wasi:cli/terminal-stdin", &["0.2."]),
    ("wasi:cli/terminal-stdout", &["0.2."]),
    ("wasi:filesystem/preopens", &["0.2."]),
    ("wasi:filesystem/types", &["0.2."]),
    ("wasi:io/error", &["0.2."]),
    ("wasi:io/poll", &["0.2."]),
    ("wasi:io/streams", &["0.2."]),
    ("wasi:random/insecure-seed", &["0.2.", "0.3."]),
];

/// Whether an init may use the interface of this name and version.
pub(crate) fn for_init(name: &str) -> bool {
    let Some((interface, version)) = name.split_once('@') else { return false };
    INTERFACES.iter().any(|(known, versions)| {
        *known == interface && versions.iter().any(|minor| version.starts_with(minor))
    }) && !version.contains('-')
}

/// The data of a store whose guest runs its init.
pub(crate) trait InitView: WasiView + IoView + 'static {}

/// Adds what an init may use; of WASI 0.3 too, if the engine has `tasks`.
pub(crate) fn link_for_init<T: InitView>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
    wasmtime_wasi_io::add_to_linker_async(linker)?;
    let l = linker;
    cli::environment::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::exit::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stderr::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stdin::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stdout::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(l, T::cli)?;
    filesystem::preopens::add_to_linker::<T, WasiFilesystem>(l, T::filesystem)?;
    filesystem::types::add_to_linker::<T, WasiFilesystem>(l, T::filesystem)?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(l, |view| view.ctx().ctx.random())?;
    if tasks {
        p3::bindings::cli::environment::add_to_linker::<T, WasiCli>(l, T::cli)?;
        p3::bindings::random::insecure_seed::add_to_linker::<T, WasiRandom>(l, |view| {
            view.ctx().ctx.random()
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_that_depend_on_time_and_place_are_not_for_an_init() {
        for name in ["wasi:cli/stdout@0.2.6", "wasi:random/insecure-seed@0.3.0"] {
            assert!(for_init(name), "{name}");
        }
        for name in [
            "wasi:random/random@0.2.6",
            "wasi:random/insecure@0.2.6",
            "wasi:clocks/wall-clock@0.2.6",
            "wasi:cli/environment@0.3.0-rc-2026-01-06",
            "wasi:cli/environment@0.20.0",
            "wasi:cli/environment",
        ] {
            assert!(!for_init(name), "{name}");
        }
    }
}

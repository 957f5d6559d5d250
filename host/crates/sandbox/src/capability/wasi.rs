//! WASI without HTTP: environment, standard streams, clocks, random numbers; files and sockets of
//! which there are none.

use lacewing_telemetry::Context;
use wasmtime::{Result, component::Linker};
use wasmtime_wasi::{
    WasiCtx,
    cli::{WasiCli, WasiCliView},
    filesystem::{WasiFilesystem, WasiFilesystemView},
    p2::bindings::{cli, filesystem, random},
    p3,
    random::WasiRandom,
};

use super::{
    extension::{Capability, InitData, Opening, StoreData},
    interfaces::Versions,
    stdio::{Log, Output},
};

/// The state of WASI in one store.
pub(crate) struct Wasi(WasiCtx);

impl Wasi {
    /// The state of a guest that is over a limit: the guest has nothing, and calls cost next to
    /// nothing.
    pub(crate) fn closed() -> Wasi {
        Wasi(WasiCtx::builder().max_random_size(0).build())
    }

    /// The state of an init.
    pub(crate) fn of_init(env: &[(String, String)], log: &Log) -> Wasi {
        let mut wasi = WasiCtx::builder();
        wasi.envs(env)
            .stdout(Output::stdout(log.clone()))
            .stderr(Output::stderr(log.clone()))
            .allow_tcp(false)
            .allow_udp(false);
        Wasi(wasi.build())
    }

    pub(crate) fn ctx(&mut self) -> &mut WasiCtx {
        &mut self.0
    }
}

impl Capability for Wasi {
    const PACKAGES: &'static [Versions] = &[
        ("wasi:cli", &["0.2", "0.3"]),
        ("wasi:clocks", &["0.2", "0.3"]),
        ("wasi:filesystem", &["0.2", "0.3"]),
        ("wasi:io", &["0.2"]),
        ("wasi:random", &["0.2", "0.3"]),
        ("wasi:sockets", &["0.2", "0.3"]),
    ];

    /// Imports that give the same result everywhere and at any time. Of random numbers only the
    /// seed for hash maps, which WASI allows to be the same each time. Of files what says that
    /// there are none: a C library asks before its first line of output.
    const DURING_INIT: &'static [Versions] = &[
        ("wasi:cli/environment", &["0.2", "0.3"]),
        ("wasi:cli/exit", &["0.2"]),
        ("wasi:cli/stderr", &["0.2"]),
        ("wasi:cli/stdin", &["0.2"]),
        ("wasi:cli/stdout", &["0.2"]),
        ("wasi:cli/terminal-input", &["0.2"]),
        ("wasi:cli/terminal-output", &["0.2"]),
        ("wasi:cli/terminal-stderr", &["0.2"]),
        ("wasi:cli/terminal-stdin", &["0.2"]),
        ("wasi:cli/terminal-stdout", &["0.2"]),
        ("wasi:filesystem/preopens", &["0.2"]),
        ("wasi:filesystem/types", &["0.2"]),
        ("wasi:io/error", &["0.2"]),
        ("wasi:io/poll", &["0.2"]),
        ("wasi:io/streams", &["0.2"]),
        ("wasi:random/insecure-seed", &["0.2", "0.3"]),
    ];

    const PER_INVOCATION: bool = false;

    fn why_not_during_init(package: &str) -> &'static str {
        match package {
            "wasi:clocks" => "the time would stand still in every sandbox",
            "wasi:random" => "every sandbox would have the same random numbers",
            "wasi:sockets" => "nothing is sent before the function is invoked",
            _ => "it means nothing before the function is invoked",
        }
    }

    const SHOWS_PROGRESS: bool = false;

    fn open(opening: Opening<'_>) -> Wasi {
        if opening.is_over {
            return Wasi::closed();
        }
        let about = about(&opening);
        // Of an instance that serves several, the first would say what one of many is.
        let about = if opening.is_shared { &about[1..] } else { &about[..] };
        let mut wasi = WasiCtx::builder();
        wasi.envs(about)
            .envs(&opening.settings.env)
            .stdout(Output::stdout(opening.log.clone()))
            .stderr(Output::stderr(opening.log.clone()))
            .max_random_size(opening.limits.random_bytes)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        Wasi(wasi.build())
    }

    fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
        wasmtime_wasi::p2::add_to_linker_async(linker)?;
        if tasks {
            wasmtime_wasi::p3::add_to_linker(linker)?;
        }
        Ok(())
    }

    fn link_for_init<T: InitData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
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
}

/// The facts that a guest can know of its own invocation. First in the environment, so that the
/// manifest's variables do not hide them.
fn about(opening: &Opening<'_>) -> [(&'static str, String); 6] {
    let Context { origin, invocation, .. } = opening.context;
    [
        ("LACEWING_INVOCATION", invocation.to_string()),
        ("LACEWING_TENANT", origin.tenant().to_string()),
        ("LACEWING_APP", origin.app.to_string()),
        ("LACEWING_FUNCTION", origin.function.to_string()),
        ("LACEWING_REVISION", origin.revision.to_string()),
        ("LACEWING_DEADLINE_MS", opening.limits.deadline.as_millis().to_string()),
    ]
}

//! The effect on requests of a deploy that compiles a bomb.
//!
//! Method: one host of two tenants, with every default on. The *neighbour*'s function is the
//! example `hello`, asked 200 times a second on a schedule; latency counts from when a request was
//! due. First alone; then while the other tenant's app is a component that takes the compiler all
//! the CPU time that it may have, and is deployed again, as another one, as soon as the host has
//! refused the last.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/compile_bomb [--seconds 30] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object. The goals: no request is lost, and the p99 stays under three times its
//! value alone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use clap::Parser;
use lacewing_benches::{
    client::{Answers, steadily},
    dated, guest,
    process::Host,
};
use serde_json::json;
use wasm_encoder::{
    CodeSection, ComponentSection, ExportKind, ExportSection, Function, FunctionSection, Module,
    ModuleSection, TypeSection, ValType,
};

#[derive(Parser)]
struct Options {
    /// How long each part takes.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Requests per second of the neighbour.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

const NEIGHBOUR: &str = "neighbour.test";
/// The CPU time of one compilation, in seconds: so short that there are several of them.
const COMPILER_CPU_S: u32 = 3;
/// Operations of the one function that the bomb is.
const OPERATIONS: usize = 700_000;

/// The `number`th bomb: the example `hello` with one more module in it, of one function that is
/// huge.
fn bomb(number: u32) -> io::Result<Vec<u8>> {
    let (mut types, mut functions) = (TypeSection::new(), FunctionSection::new());
    types.ty().function([ValType::I32], [ValType::I32]);
    functions.function(0);
    let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
    exports.export(&format!("of-{number}"), ExportKind::Func, 0);
    let mut function = Function::new([]);
    for _ in 0..OPERATIONS {
        function
            .instructions()
            .local_get(0)
            .local_get(0)
            .i32_add()
            .i32_const(3)
            .i32_mul()
            .local_set(0);
    }
    function.instructions().local_get(0).end();
    code.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    let mut component = fs::read(guest::example("hello"))?;
    ModuleSection(&module).append_to_component(&mut component);
    Ok(component)
}

/// Writes the host file; of the tenant that deploys bombs, there is an app with a component that is
/// fine.
fn write_host(dir: &Path) -> io::Result<PathBuf> {
    let hello = guest::example("hello");
    fs::copy(&hello, dir.join("app.wasm"))?;
    let mut host = format!(
        "listen = [\"127.0.0.1:0\"]\nadmin = \"off\"\ncache_dir = \"cache\"\n[compiler]\ncpu_s = {COMPILER_CPU_S}\n"
    );
    for (name, component) in [("neighbour", hello), ("bomber", PathBuf::from("app.wasm"))] {
        let manifest = format!(
            "app = \"{name}\"\n[functions.{name}]\ncomponent = {component:?}\nroutes = [\"/\"]\n"
        );
        fs::write(dir.join(format!("{name}.toml")), manifest)?;
        host += &format!(
            "[tenants.{name}]\nhosts = [\"{name}.test\"]\napps = [\"{name}.toml\"]\ncomponent_dirs = [\"/\"]\n"
        );
    }
    let path = dir.join("host.toml");
    fs::write(&path, host)?;
    Ok(path)
}

/// Deploys one bomb after the other until it is told to end. Gives the errors that the host has
/// said.
fn deploy_bombs(dir: &Path, host: &Host, over: &AtomicBool) -> anyhow::Result<Vec<String>> {
    for number in 0.. {
        // Whole from one moment to the next.
        fs::write(dir.join("next.wasm"), bomb(number)?)?;
        fs::rename(dir.join("next.wasm"), dir.join("app.wasm"))?;
        let before = host.errors().len();
        host.reload()?;
        let patience = Instant::now() + Duration::from_secs(120);
        while host.errors().len() == before {
            if over.load(Ordering::Relaxed) {
                return Ok(host.errors());
            }
            anyhow::ensure!(Instant::now() < patience, "the host refuses no bomb");
            anyhow::ensure!(host.swaps() == 0, "the host takes a bomb");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(host.errors())
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let lacewing = match &options.lacewing {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("lacewing"),
    };
    let dir = tempfile::tempdir()?;
    let host = Host::start(&lacewing, &write_host(dir.path())?)?;
    let (address, time) = (host.address(), Duration::from_secs(options.seconds));
    let ask = |time| steadily(address, NEIGHBOUR, options.rate, time);
    ask(Duration::from_secs(2))?;
    let alone = ask(time)?;
    let over = AtomicBool::new(false);
    let (beside, errors) = std::thread::scope(|scope| {
        let bombs = scope.spawn(|| deploy_bombs(dir.path(), &host, &over));
        // The first is made, and its compilation has begun.
        std::thread::sleep(Duration::from_secs(2));
        let beside = ask(time);
        over.store(true, Ordering::Relaxed);
        let errors = bombs.join().map_err(|_| anyhow::anyhow!("the bombs panicked"));
        anyhow::Ok((beside?, errors??))
    })?;
    let lost = |answers: &Answers| answers.total() - answers.count(200);
    let (p99_alone, p99_beside) = (alone.of(&[200]).p99_ms, beside.of(&[200]).p99_ms);
    let result = json!({
        "bench": "compile_bomb",
        "seconds": options.seconds,
        "requests_per_second": options.rate,
        "alone": alone.by_status(),
        "beside_bombs": beside.by_status(),
        "lost_alone": lost(&alone),
        "lost_beside_bombs": lost(&beside),
        "p99_ratio": (p99_beside / p99_alone * 100.0).round() / 100.0,
        "bombs_refused": errors.len(),
        "refused_with": errors.first(),
        "peak_rss_mib": (host.peak_kib()? / 1024.0).round(),
    });
    dated::publish("compile-bomb", options.write, result)?;
    let refused_otherwise = errors.iter().find(|error| !error.contains("compiler.cpu_s"));
    anyhow::ensure!(!errors.is_empty() && refused_otherwise.is_none(), "{refused_otherwise:?}");
    Ok(())
}

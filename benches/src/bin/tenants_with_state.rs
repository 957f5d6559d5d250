//! The cost of tenants that have state and do nothing: memory, and open files.
//!
//! Method: a host serves N tenants, each with one function that may write to a store. A client asks
//! each of them once, so that each has a database, and then once more in the same order. Measured
//! are, from outside the process, the memory that is resident and the open files, before, between
//! and after. Beside it stand the same tenants with the example `hello`: their memory is no cost of
//! state. The cost of an idle tenant is the slope of the difference: from one number of tenants to
//! the next one, so that the databases that stay open do not count.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/tenants_with_state [--tenants 1,100,10000] [--write] [--lacewing PATH]
//! ```
//!
//! Prints one JSON object, and fails where the last of these slopes is 4 KiB or more.

use std::{
    fmt::Write as _,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Parser;
use lacewing_benches::{
    client::Client,
    dated,
    guest::{self, Layout},
    process::{Host, Sample},
};
use serde_json::{Value, json};

#[derive(Parser)]
struct Options {
    /// Numbers of tenants, a host each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 10_000])]
    tenants: Vec<u32>,
    /// Requests at once.
    #[arg(long, default_value_t = 4)]
    clients: u32,
    /// Writes the result to benches/results as well.
    #[arg(long)]
    write: bool,
    /// The program to measure. Beside this one by default.
    #[arg(long)]
    lacewing: Option<PathBuf>,
}

/// The promise: less than so much for each idle tenant.
const MOST_BYTES: f64 = 4096.0;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let beside = std::env::current_exe()?.with_file_name("lacewing");
    let lacewing = options.lacewing.clone().unwrap_or(beside);
    let counter = guest::guest("counter", Layout::Lean);
    let hello = guest::example("hello");
    let mut rows = Vec::new();
    let (mut most, mut before) = (0.0, None);
    for &tenants in &options.tenants {
        let with = measure(&lacewing, &counter, true, tenants, options.clients)?;
        let without = measure(&lacewing, &hello, false, tenants, options.clients)?;
        let cost = (with.last_kib() - without.last_kib()) * 1024.0;
        let slope = before.map(|(fewer, less): (u32, f64)| {
            ((cost - less) / f64::from(tenants.saturating_sub(fewer).max(1))).round()
        });
        most = slope.unwrap_or(most);
        before = Some((tenants, cost));
        rows.push(json!({
            "tenants": tenants,
            "state": with.figures(),
            "hello": without.figures(),
            "bytes_of_state_per_further_tenant": slope,
        }));
    }
    let result = json!({ "bench": "tenants_with_state", "rows": rows });
    dated::publish("tenants-with-state", options.write, result)?;
    anyhow::ensure!(most < MOST_BYTES, "an idle tenant has {most:.0} bytes");
    Ok(())
}

/// A host before all tenants were asked, after that, and after the second time.
struct Samples([Sample; 3]);

impl Samples {
    /// The memory after the second time, in KiB.
    fn last_kib(&self) -> f64 {
        self.0[2].resident_kib
    }

    fn figures(&self) -> Value {
        json!({
            "resident_kib": self.0.map(|sample| sample.resident_kib),
            "descriptors": self.0.map(|sample| sample.descriptors),
            "threads": self.0.map(|sample| sample.threads),
        })
    }
}

fn measure(
    lacewing: &Path,
    component: &Path,
    has_state: bool,
    tenants: u32,
    clients: u32,
) -> anyhow::Result<Samples> {
    let dir = tempfile::tempdir()?;
    let host = Host::start(lacewing, &host_file(dir.path(), component, has_state, tenants)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The first request makes what all share.
    runtime.block_on(ask(host.address(), 0, 1, 1))?;
    let before = host.sample()?;
    let after = || {
        runtime.block_on(async {
            let clients = (0..clients).map(|client| ask(host.address(), client, clients, tenants));
            futures_util::future::try_join_all(clients).await
        })?;
        Ok::<_, anyhow::Error>(host.sample()?)
    };
    Ok(Samples([before, after()?, after()?]))
}

/// Asks each `step`th tenant, from the one of number `first` on.
async fn ask(address: SocketAddr, first: u32, step: u32, tenants: u32) -> anyhow::Result<()> {
    let mut client = Client::new(address, "", "/");
    for tenant in (first..tenants).step_by(step as usize) {
        client.set_path(&format!("t{tenant}.test"), "/hits");
        let status = client.ask().await?;
        anyhow::ensure!([200, 204].contains(&status), "tenant {tenant}: {status}");
    }
    Ok(())
}

fn host_file(dir: &Path, component: &Path, has_state: bool, tenants: u32) -> io::Result<PathBuf> {
    fs::copy(component, dir.join("app.wasm"))?;
    let mut manifest =
        "app = \"shop\"\n[functions.api]\ncomponent = \"app.wasm\"\nroutes = [\"/{*key}\"]\n"
            .to_owned();
    if has_state {
        manifest += "grants.kv = { store = \"read-write\" }\n[kv.store]\n";
    }
    fs::write(dir.join("app.toml"), manifest)?;
    // Few functions stay in memory, so that the growth is not theirs.
    let mut host = "admin = \"off\"\ncache_dir = \"cache\"\nstate = \"state\"\nlog.requests = \"none\"\nresidency.max_functions = 16\n".to_owned();
    for tenant in 0..tenants {
        // Infallible: writing to a string does not fail.
        let _ = writeln!(
            host,
            "[tenants.t{tenant}]\nhosts = [\"t{tenant}.test\"]\napps = [\"app.toml\"]"
        );
    }
    let file = dir.join("host.toml");
    fs::write(&file, host)?;
    Ok(file)
}

//! The cost of many registered functions: at the start of a host, in memory, and at the first
//! request to one of them.
//!
//! Method: writes a host file of N functions (in manifests of 100), each with one of C components,
//! all of them the example `hello`; starts `lacewing up` on it once, so that everything is compiled
//! and the ledger is written, then some times more. Measured are, from outside the process, the
//! time from its start to the end of its first response; the memory that is resident then;
//! and whole HTTP requests, one after the other on one connection, to functions in random order.
//!
//! ```text
//! cargo build --release -p lacewing -p lacewing-benches
//! target/release/many_functions 10000 100 256 [LACEWING]
//! ```
//!
//! Prints one JSON object. Times are medians unless their names say otherwise. `miss_*` are
//! requests to functions of which 1 in N / resident happens to be resident.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lacewing_benches::{
    many::{Many, place_of},
    process::Host,
};

/// Starts of the process that are measured.
const STARTS: usize = 15;
/// Requests to functions in random order.
const REQUESTS: usize = 20_000;

/// One connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> io::Result<Client> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        Ok(Client(BufReader::new(socket)))
    }

    /// One request to a function, which has to answer as `hello` does.
    fn ask(&mut self, function: usize) -> io::Result<Duration> {
        let (host, path) = place_of(function);
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let before = Instant::now();
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length, mut first) = (String::new(), 0, true);
        loop {
            line.clear();
            self.0.read_line(&mut line)?;
            if first && !line.starts_with("HTTP/1.1 200 ") {
                return Err(io::Error::other(format!("function {function}: {line}")));
            }
            first = false;
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        io::Read::read_exact(&mut self.0, &mut body)?;
        let took = before.elapsed();
        if !body.starts_with(b"Hello, ") {
            return Err(io::Error::other(format!("function {function} says something else")));
        }
        Ok(took)
    }
}

/// Numbers in random order, the same ones each time (xorshift, Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).unwrap_or(0)
    }
}

fn quantile(sorted: &[Duration], of: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = (sorted.len() as f64 * of) as usize;
    sorted[index.min(sorted.len() - 1)]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Starts some times, asks each time for another function, and gives the times with the memory of
/// the last one.
fn starts(lacewing: &Path, file: &Path, functions: usize) -> io::Result<(Vec<Duration>, f64)> {
    let (mut times, mut kib) = (Vec::new(), 0.0);
    for turn in 0..STARTS {
        let host = Host::start(lacewing, file)?;
        Client::connect(host.address())?.ask(turn * 7919 % functions)?;
        times.push(host.age());
        kib = host.resident_kib()?;
    }
    times.sort_unstable();
    Ok((times, kib))
}

fn measure(many: &Many, lacewing: &Path, component: &Path) -> io::Result<String> {
    let (one_dir, dir) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let one = Many { functions: 1, components: 1, resident: 1 };
    let one_file = one.write(one_dir.path(), component)?;
    let file = many.write(dir.path(), component)?;
    // The first start deploys, and writes the ledger that the others start from.
    let mut deploys = Vec::new();
    for file in [&one_file, &file] {
        let host = Host::start(lacewing, file)?;
        Client::connect(host.address())?.ask(0)?;
        deploys.push(host.age());
        let cache = file.with_file_name("cache");
        let has_ledger = || -> io::Result<bool> {
            let mut entries = fs::read_dir(&cache)?.filter_map(Result::ok);
            Ok(entries.any(|entry| entry.path().extension().is_some_and(|e| e == "ledger")))
        };
        while !has_ledger()? {
            std::thread::yield_now();
        }
    }
    let (one_starts, one_kib) = starts(lacewing, &one_file, 1)?;
    let (many_starts, many_kib) = starts(lacewing, &file, many.functions)?;
    let host = Host::start(lacewing, &file)?;
    let mut client = Client::connect(host.address())?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut misses = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        misses.push(client.ask(random.below(many.functions))?);
    }
    misses.sort_unstable();
    let mut hits = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        hits.push(client.ask(0)?);
    }
    hits.sort_unstable();
    let Many { functions, components, resident } = many;
    #[expect(clippy::cast_precision_loss)]
    let each_bytes = (many_kib - one_kib) * 1024.0 / (*functions).max(1) as f64;
    Ok(format!(
        "{{\"functions\": {functions}, \"components\": {components}, \"max_resident\": {resident}, \
         \"deploy_ms\": {:.1}, \"start_one_ms\": {:.1}, \"start_one_best_ms\": {:.1}, \"start_ms\": {:.1}, \
         \"start_best_ms\": {:.1}, \"rss_one_kib\": {one_kib}, \"rss_kib\": {many_kib}, \"bytes_per_function\": {each_bytes:.0}, \
         \"miss_p50_ms\": {:.3}, \"miss_p90_ms\": {:.3}, \"miss_p99_ms\": {:.3}, \"miss_p999_ms\": {:.3}, \
         \"resident_p50_ms\": {:.3}, \"resident_p99_ms\": {:.3}, \"rss_after_kib\": {}}}",
        ms(deploys[1]),
        ms(quantile(&one_starts, 0.5)),
        ms(one_starts[0]),
        ms(quantile(&many_starts, 0.5)),
        ms(many_starts[0]),
        ms(quantile(&misses, 0.5)),
        ms(quantile(&misses, 0.9)),
        ms(quantile(&misses, 0.99)),
        ms(quantile(&misses, 0.999)),
        ms(quantile(&hits, 0.5)),
        ms(quantile(&hits, 0.99)),
        host.resident_kib()?,
    ))
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).map_or(Ok(default), |text| text.parse().map_err(io::Error::other))
    };
    let many = Many {
        functions: number(0, 10_000)?,
        components: number(1, 100)?,
        resident: number(2, 256)?,
    };
    let lacewing = match arguments.get(3) {
        Some(path) => PathBuf::from(path),
        None => env::current_exe()?.with_file_name("lacewing"),
    };
    let component = lacewing_benches::guest::example("hello");
    println!("{}", measure(&many, &lacewing, &component)?);
    Ok(())
}

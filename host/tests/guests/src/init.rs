//! A component whose init does what the variable `INIT` says, and that answers with what it finds
//! of that: the number of inits that its memory has seen, the init's and its own view of the
//! environment, and its hash of a word.
//!
//! | `INIT` | what the init does |
//! |---|---|
//! | `keep` | keeps a mebibyte, prints, and asks for a variable |
//! | `holes` | allocates much, and frees every other piece of it |
//! | `seed` | makes a hasher, as every hash map does |
//! | `monotonic-clock`, `wall-clock`, `sleep`, `random`, `http` | asks for what an init may not have |
//! | `panic`, `spin`, `allocate`, `exit`, `fail` | does not come to a good end |
//! | `open` | keeps a stream |

#![cfg(target_os = "wasi")]

use std::{
    collections::hash_map::RandomState,
    env,
    hash::BuildHasher,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use lacewing_sdk::{Error, Path, Result, client};
use wasip2::{cli::stdout::get_stdout, random::random::get_random_u64};

static INITS: AtomicU32 = AtomicU32::new(0);
static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SEEN: Mutex<String> = Mutex::new(String::new());

#[lacewing_sdk::init]
fn prepare() -> Result<()> {
    INITS.fetch_add(1, Ordering::Relaxed);
    let what = env::var("INIT")?;
    match what.as_str() {
        "keep" => keep(),
        "holes" => holes(),
        "seed" => drop(RandomState::new()),
        "monotonic-clock" => println!("{:?}", Instant::now()),
        "wall-clock" => println!("{:?}", SystemTime::now()),
        "sleep" => std::thread::sleep(Duration::from_secs(1)),
        "random" => println!("{}", get_random_u64()),
        "http" => drop(client::fetch(request())?),
        "panic" => panic!("this init panics"),
        "spin" => loop {
            std::hint::black_box(());
        },
        "allocate" => allocate(),
        "exit" => std::process::exit(1),
        "fail" => return Err(Error::fatal("there is no word list")),
        "open" => std::mem::forget(get_stdout()),
        other => return Err(Error::fatal(format!("no such thing: {other}"))),
    }
    Ok(())
}

static PIECES: Mutex<Vec<Box<[u8; 40]>>> = Mutex::new(Vec::new());

fn holes() {
    let pieces: Vec<Box<[u8; 40]>> = (0..100_000).map(|_| Box::new([1; 40])).collect();
    *PIECES.lock().unwrap() = pieces.into_iter().step_by(2).collect();
}

/// Whether a piece of an invocation lies before all of the init's.
fn lies_before() -> bool {
    let new = Box::new([2; 40]);
    PIECES.lock().unwrap().iter().all(|old| old.as_ptr() > new.as_ptr())
}

fn keep() {
    *KEPT.lock().unwrap() = (0..1 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
    *SEEN.lock().unwrap() = view();
    println!("this is printed once");
}

fn allocate() {
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 1 << 20]);
    }
}

fn view() -> String {
    let set = |name: &str| env::var_os(name).is_some();
    format!("invocation {}, custom {}", set("LACEWING_INVOCATION"), set("CUSTOM"))
}

#[lacewing_sdk::http]
fn found(Path(what): Path<String>) -> String {
    match what.as_str() {
        "inits" => INITS.fetch_add(1, Ordering::Relaxed).to_string(),
        "kept" => {
            let mut kept = KEPT.lock().unwrap();
            let sum: u64 = kept.iter().map(|byte| u64::from(*byte)).sum();
            // The next sandbox must not see it.
            kept.fill(0);
            sum.to_string()
        }
        "before" => lies_before().to_string(),
        "views" => format!("init: {}; handler: {}", SEEN.lock().unwrap(), view()),
        "hash" => RandomState::new().hash_one("word").to_string(),
        "invocation" => env::var("LACEWING_INVOCATION").unwrap_or_default(),
        "spin" => loop {
            std::hint::black_box(());
        },
        "print" => {
            println!("this is printed by an invocation");
            eprintln!("and so is this");
            "printed".to_owned()
        }
        other => other.to_owned(),
    }
}

fn request() -> lacewing_sdk::Request {
    let mut request = lacewing_sdk::Request::default();
    *request.uri_mut() = lacewing_sdk::Uri::from_static("http://localhost/");
    request
}

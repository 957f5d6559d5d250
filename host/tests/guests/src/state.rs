//! A handler of the SDK's that uses key-value stores in every way that a test asks for.

#![cfg(target_os = "wasi")]

use lacewing_sdk::http::StatusCode;
use lacewing_sdk::{Error, Path, Result, Routes, kv};

#[lacewing_sdk::http]
fn state(routes: Routes) -> Routes {
    routes
        .get("/put/{key}/{value}", put)
        .get("/get/{key}", get)
        .get("/count/{key}", count)
        .get("/transfer/{from}/{to}/{amount}", transfer)
        .get("/sum", sum)
        .get("/leave/{doctor}", leave)
        .get("/claim/{prefix}", claim)
        .get("/fill/{bytes}", fill)
        .get("/fail/{how}", fail)
        .get("/use/{store}", use_store)
        .get("/lose/{mib}", lose)
        .get("/hold/{ms}", hold)
}

fn put(Path((key, value)): Path<(String, String)>) -> Result<()> {
    kv::open("things")?.write(&key).bytes(value).map(drop)
}

fn get(Path(key): Path<String>) -> Result<Option<Vec<u8>>> {
    Ok(kv::open("things")?.bytes(&key)?.map(|entry| entry.value))
}

fn count(Path(key): Path<String>) -> Result<String> {
    Ok(kv::open("things")?.increment(&key, 1)?.to_string())
}

fn transfer(Path((from, to, amount)): Path<(String, String, i64)>) -> Result<()> {
    let things = kv::open("things")?;
    let balance: i64 = things.get(&format!("account:{from}"))?.unwrap_or(0);
    if balance < amount {
        return Err(Error::conflict("there is not enough"));
    }
    things.increment(&format!("account:{from}"), -amount)?;
    things.increment(&format!("account:{to}"), amount)?;
    Ok(())
}

/// The sum of all accounts.
fn sum() -> Result<String> {
    let things = kv::open("things")?;
    let keys = things.keys("account:")?.keys;
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let balances: Vec<Option<i64>> = things.get_many(&keys)?;
    Ok(balances.into_iter().flatten().sum::<i64>().to_string())
}

/// A doctor leaves if both are on duty.
fn leave(Path(doctor): Path<String>) -> Result<&'static str> {
    let things = kv::open("things")?;
    let on_duty = ["ada", "bea"].map(|doctor| things.get::<u8>(&format!("duty:{doctor}")));
    for on_duty in on_duty {
        if on_duty? != Some(1) {
            return Ok("stays");
        }
    }
    things.set(&format!("duty:{doctor}"), &0)?;
    Ok("left")
}

/// Takes the next number of a prefix.
fn claim(Path(prefix): Path<String>) -> Result<String> {
    let things = kv::open("things")?;
    let (mut taken, mut after) = (0, None);
    loop {
        let page = things.keys_after(&prefix, after.as_deref(), 1000)?;
        taken += page.keys.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let key = format!("{prefix}{taken:06}");
    things.write(&key).bytes("")?;
    Ok(key)
}

fn fill(Path(bytes): Path<usize>) -> Result<()> {
    kv::open("things")?.write("filled").bytes(vec![0; bytes]).map(drop)
}

/// Writes, and then fails.
fn fail(Path(how): Path<String>) -> Result<StatusCode> {
    kv::open("things")?.set(&how, "written")?;
    match how.as_str() {
        "trap" => std::process::abort(),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "error" => Err(Error::not_found("an error drops what was written")),
        "unavailable" => Ok(StatusCode::SERVICE_UNAVAILABLE),
        _ => Ok(StatusCode::NOT_FOUND),
    }
}

/// Writes, has the host hold so many MiB, and answers before it can be stopped for that.
fn lose(Path(mib): Path<usize>) -> Result<()> {
    let things = kv::open("things")?;
    things.set("lost", &1)?;
    let large = vec![b'x'; 1 << 20];
    for _ in 0..mib {
        let fields = wasip2::http::types::Fields::new();
        // A field that is refused is not held.
        let _ = fields.append("x", &large);
        std::mem::forget(fields);
    }
    // The host looks at the limits of the guest here, and says that there are no stores any more.
    let _ = things.bytes("lost");
    Ok(())
}

/// Keeps a snapshot for some time.
fn hold(Path(ms): Path<u64>) -> Result<()> {
    kv::open("things")?.bytes("held")?;
    std::thread::sleep(std::time::Duration::from_millis(ms));
    Ok(())
}

fn use_store(Path(store): Path<String>) -> Result<()> {
    kv::open(store)?.set("a", &1)
}

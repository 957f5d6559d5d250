//! A ledger in a key-value store: each request is a transaction whose parts have to stay together.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Error, Path, Result, Routes, kv, objects};

/// Accounts among which each write moves an amount.
const ACCOUNTS: u32 = 8;

#[lacewing_sdk::http]
fn ledger(routes: Routes) -> Routes {
    routes
        .get("/write/{client}/{n}", write)
        .get("/put/{client}/{n}", put)
        .get("/check/{client}", check)
        .get("/sum", sum)
        .get("/timed/{reads}", timed)
}

/// Notes the `n`th write of a client, and moves as much from one account to another.
fn write(Path((client, n)): Path<(u32, u32)>) -> Result<()> {
    let ledger = kv::open("ledger")?;
    ledger.set(&format!("last:{client}"), &n)?;
    ledger.set(&format!("write:{client}:{n:08}"), &n)?;
    let (from, to) = ((client + n) % ACCOUNTS, (client * 3 + n * 5 + 1) % ACCOUNTS);
    ledger.increment(&format!("account:{from}"), -i64::from(n))?;
    ledger.increment(&format!("account:{to}"), i64::from(n))?;
    Ok(())
}

/// As [`write`], with an object. Every third object is too large for the database, and is a file.
fn put(Path((client, n)): Path<(u32, u32)>) -> Result<()> {
    objects::open("blobs")?.put(&format!("last:{client}"), body(n))?;
    write(Path((client, n)))
}

/// A body in which each part tells its write.
fn body(n: u32) -> Vec<u8> {
    let bytes = if n % 3 == 0 { 100_000 } else { 1_000 };
    n.to_le_bytes().repeat(bytes)
}

/// The last write of a client, and the number of its writes that are there. The object of the last
/// one has to be there as a whole.
fn check(Path(client): Path<u32>) -> Result<String> {
    let ledger = kv::open("ledger")?;
    let last: u32 = ledger.get(&format!("last:{client}"))?.unwrap_or(0);
    let object = objects::open("blobs")?.get(&format!("last:{client}"))?;
    let object = object.map(|object| object.bytes()).transpose()?;
    let has_object = client % 4 == 0 && last > 0;
    if object.as_deref() != has_object.then(|| body(last)).as_deref() {
        return Err(Error::conflict("the object is not that of the last write"));
    }
    let (mut count, mut after) = (0, None);
    loop {
        let page = ledger.keys_after(&format!("write:{client}:"), after.as_deref(), 1000)?;
        count += page.keys.len();
        after = page.next;
        if after.is_none() {
            return Ok(format!("{last} {count}"));
        }
    }
}

/// The sum of all accounts, which is 0.
fn sum() -> Result<String> {
    let ledger = kv::open("ledger")?;
    let mut sum = 0;
    for account in 0..ACCOUNTS {
        sum += ledger.get::<i64>(&format!("account:{account}"))?.unwrap_or(0);
    }
    Ok(sum.to_string())
}

/// Gets the last write of client 0 again and again. The p50 and p99 of one call, in nanoseconds.
fn timed(Path(reads): Path<usize>) -> Result<String> {
    let ledger = kv::open("ledger")?;
    let mut times = Vec::with_capacity(reads);
    for _ in 0..reads {
        let begun = std::time::Instant::now();
        ledger.bytes("last:0")?;
        times.push(begun.elapsed().as_nanos());
    }
    times.sort_unstable();
    Ok(format!("{} {}", times[reads / 2], times[reads * 99 / 100]))
}

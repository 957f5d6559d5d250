//! A ledger in a key-value store: each request is a transaction whose parts have to stay together.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Path, Result, Routes, kv};

/// Accounts among which each write moves an amount.
const ACCOUNTS: u32 = 8;

#[lacewing_sdk::http]
fn ledger(routes: Routes) -> Routes {
    routes
        .get("/write/{client}/{n}", write)
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

/// The last write of a client, and the number of its writes that are there.
fn check(Path(client): Path<u32>) -> Result<String> {
    let ledger = kv::open("ledger")?;
    let last: u32 = ledger.get(&format!("last:{client}"))?.unwrap_or(0);
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

//! Transactions that show an anomaly to their client wherever they are not serializable.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Error, Path, Result, Routes, kv};

/// Accounts among which money moves.
const ACCOUNTS: u32 = 8;
/// The money of each at first.
const MONEY: i64 = 100;

#[lacewing_sdk::http]
fn anomalies(routes: Routes) -> Routes {
    routes
        .get("/open", open)
        .get("/transfer/{from}/{to}/{amount}", transfer)
        .get("/audit", audit)
        .get("/leave/{ward}/{doctor}", leave)
        .get("/return/{ward}/{doctor}", come_back)
        .get("/count/{key}", count)
        .get("/claim/{prefix}", claim)
        .get("/history/{id}/{group}/{steps}", history)
}

fn store() -> Result<kv::Store> {
    kv::open("things")
}

fn open() -> Result<()> {
    (0..ACCOUNTS).try_for_each(|account| store()?.set(&format!("account:{account}"), &MONEY))
}

/// Moves as much as there is, up to an amount, from an account to another. Reads and sets both.
fn transfer(Path((from, to, amount)): Path<(u32, u32, i64)>) -> Result<()> {
    let (from, to) = (format!("account:{}", from % ACCOUNTS), format!("account:{}", to % ACCOUNTS));
    let store = store()?;
    let balance: i64 = store.get(&from)?.unwrap_or(0);
    let moved = balance.min(amount);
    store.set(&from, &(balance - moved))?;
    let balance: i64 = store.get(&to)?.unwrap_or(0);
    store.set(&to, &(balance + moved))
}

/// The money of all accounts. The transaction writes nothing.
fn audit() -> Result<String> {
    let store = store()?;
    let mut sum = 0;
    for account in 0..ACCOUNTS {
        sum += store.get::<i64>(&format!("account:{account}"))?.unwrap_or(0);
    }
    Ok(sum.to_string())
}

/// The doctors of a ward on duty: both at first.
fn on_duty(store: &kv::Store, ward: u32) -> Result<u32> {
    let mut count = 0;
    for doctor in 0..2 {
        count += u32::from(store.get(&format!("duty:{ward}:{doctor}"))?.unwrap_or(true));
    }
    Ok(count)
}

/// A doctor leaves if both are on duty. Says how many were.
fn leave(Path((ward, doctor)): Path<(u32, u32)>) -> Result<String> {
    let store = store()?;
    let count = on_duty(&store, ward)?;
    if count == 2 {
        store.set(&format!("duty:{ward}:{doctor}"), &false)?;
    }
    Ok(count.to_string())
}

/// A doctor is on duty again. The write rests on no read.
fn come_back(Path((ward, doctor)): Path<(u32, u32)>) -> Result<()> {
    store()?.set(&format!("duty:{ward}:{doctor}"), &true)
}

fn count(Path(key): Path<u32>) -> Result<String> {
    let (store, key) = (store()?, format!("count:{key}"));
    let number = store.get(&key)?.unwrap_or(0) + 1;
    store.set(&key, &number)?;
    Ok(number.to_string())
}

/// The keys of a prefix.
fn keys(store: &kv::Store, prefix: &str) -> Result<Vec<String>> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = store.keys_after(prefix, after.as_deref(), 100)?;
        keys.extend(page.keys);
        after = page.next;
        if after.is_none() {
            return Ok(keys);
        }
    }
}

/// Inserts a key behind all that a listing shows. Says its number.
fn claim(Path(prefix): Path<u32>) -> Result<String> {
    let (store, prefix) = (store()?, format!("claim:{prefix}:"));
    let number = keys(&store, &prefix)?.len();
    store.set(&format!("{prefix}{number:06}"), &0)?;
    Ok(number.to_string())
}

/// Does steps on the lists of a group, and says what each saw, separated by `;`: `r3` the ids in
/// list 3, `a3` the same before it appends its own, `l` the numbers of the lists that are there.
fn history(Path((id, group, steps)): Path<(u32, u32, String)>) -> Result<String> {
    let (store, prefix) = (store()?, format!("list:{group}:"));
    let mut seen = Vec::new();
    for step in steps.split('.') {
        let ids = match step.split_at_checked(1) {
            Some(("l", "")) => {
                let keys = keys(&store, &prefix)?;
                keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect()
            }
            Some(("r", list)) => store.get(&format!("{prefix}{list}"))?.unwrap_or_default(),
            Some(("a", list)) => {
                let key = format!("{prefix}{list}");
                let mut ids: Vec<u32> = store.get(&key)?.unwrap_or_default();
                ids.push(id);
                store.set(&key, &ids)?;
                ids.pop();
                ids
            }
            _ => return Err(Error::bad_request("a step is l, r or a")),
        };
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        seen.push(ids.join(","));
    }
    Ok(seen.join(";"))
}

//! Databases that open, close, are copied and are read while others write to them.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use super::*;

/// Adds one to a counter of a tenant, until it is committed.
fn count(tenant: &Arc<dyn TenantState>, key: &str) {
    let counters = kv_store("counters");
    until_committed(tenant, |transaction| {
        transaction.increment(&counters, key, 1).unwrap();
    });
}

#[test]
fn databases_that_close_and_open_under_load_lose_nothing() {
    const TENANTS: u32 = 5;
    const ROUNDS: u32 = 60;
    let dir = TempDir::new().unwrap();
    // Each use of another tenant closes a database.
    let options = EmbeddedOptions { open_databases: 1, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let tenants: Vec<_> =
        (0..TENANTS).map(|n| store.tenant(&name(&format!("t{n}")), NO_BOUND)).collect();
    thread::scope(|scope| {
        for begin in 0..4 {
            let tenants = &tenants;
            scope.spawn(move || {
                for round in begin..begin + ROUNDS {
                    count(&tenants[(round * (begin + 1) % TENANTS) as usize], "all");
                }
            });
        }
    });
    let counted: u32 = tenants
        .iter()
        .map(|tenant| {
            value(tenant, &kv_store("counters"), "all").map_or(0, |number| number.parse().unwrap())
        })
        .sum();
    assert_eq!(counted, 4 * ROUNDS);
    for n in 0..TENANTS {
        let inspection = store.inspect(&name(&format!("t{n}")), &Stopper::default()).unwrap();
        assert_eq!(inspection.faults, [""; 0]);
    }
}

#[test]
fn a_backup_under_load_is_of_one_moment() {
    let (_dir, store, tenant) = acme();
    let copies = TempDir::new().unwrap();
    let accounts = kv_store("accounts");
    put(&tenant, &accounts, "a", "0");
    put(&tenant, &accounts, "b", "0");
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                until_committed(&tenant, |transaction| {
                    transaction.increment(&accounts, "a", -1).unwrap();
                    transaction.increment(&accounts, "b", 1).unwrap();
                });
            }
        });
        for n in 0..10 {
            let to = copies.path().join(n.to_string());
            store.back_up(&[name("acme")], &to, &Stopper::default()).unwrap();
            let copy = EmbeddedStore::open(&to, EmbeddedOptions::default()).unwrap();
            assert_eq!(copy.inspect(&name("acme"), &Stopper::default()).unwrap().faults, [""; 0]);
            let copied = copy.tenant(&name("acme"), NO_BOUND);
            let [a, b] = ["a", "b"]
                .map(|account| value(&copied, &accounts, account).unwrap().parse::<i64>().unwrap());
            assert_eq!(a + b, 0, "copy {n}");
        }
        is_over.store(true, SeqCst);
    });
}

#[test]
fn snapshots_that_overlap_do_not_let_the_log_grow_without_end() {
    let (dir, _store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "a", "1");
    let log = dir.path().join("acme/state.db-wal");
    let letter = |n: u32| char::from_digit(n % 36, 36).unwrap().to_string();
    let read = |reader: &mut Transaction| reader.get(&users, "a").map(drop);
    let mut older = begin(&tenant);
    read(&mut older).unwrap();
    let mut ended = 0;
    for n in 0..400 {
        // At each moment, one of two snapshots needs a part of the log.
        let mut younger = begin(&tenant);
        read(&mut younger).unwrap();
        // Pages that do not change are not written.
        put(&tenant, &users, "large", &letter(n).repeat(1 << 20));
        ended += u32::from(read(&mut older).is_err());
        older = younger;
        assert!(fs::metadata(&log).unwrap().len() < 300 << 20, "the log has no bound");
    }
    assert!(ended > 0, "400 MiB fit into the log");
    assert_eq!(value(&tenant, &users, "a").as_deref(), Some("1"));
}

/// The time that the next test's store has.
static NOW_MS: AtomicI64 = AtomicI64::new(0);

#[test]
fn a_clock_that_is_set_back_lets_entries_live_longer_and_changes_no_order() {
    const DAY_MS: i64 = 86_400_000;
    let dir = TempDir::new().unwrap();
    let options = EmbeddedOptions { clock: || NOW_MS.load(SeqCst), ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let tenant = store.tenant(&name("acme"), NO_BOUND);
    let codes = kv_store("codes");
    let hour = Some(Duration::from_secs(3600));
    let write = |key: &str| {
        let mut transaction = begin(&tenant);
        transaction.set(&codes, key, "1".into(), hour, Condition::Any).unwrap();
        commit(transaction).unwrap()
    };
    NOW_MS.store(100 * DAY_MS, SeqCst);
    let first = write("first");
    // A day back: the entry lives for a day longer, and later commits are later all the same.
    NOW_MS.store(99 * DAY_MS, SeqCst);
    assert_eq!(value(&tenant, &codes, "first").as_deref(), Some("1"));
    let second = write("second");
    assert!(second > first);
    let mut reader = begin(&tenant);
    assert_eq!(reader.list(&codes, "", None, 10).unwrap().keys, ["first", "second"]);
    reader.set(&codes, "third", "1".into(), None, Condition::Any).unwrap();
    // The reader has seen `first`, which is set anew.
    assert!(write("first") > second);
    assert!(conflicts(reader));
    // An hour after the second and the new first entry, at a time that was before.
    NOW_MS.store(99 * DAY_MS + 3_600_001, SeqCst);
    assert_eq!(value(&tenant, &codes, "second"), None);
    assert_eq!(value(&tenant, &codes, "first"), None);
    // Before the epoch no entry expires, and nothing fails.
    NOW_MS.store(-DAY_MS, SeqCst);
    assert_eq!(value(&tenant, &codes, "first").as_deref(), Some("1"));
    write("fourth");
    assert!(value(&tenant, &codes, "fourth").is_some());
    drop((tenant, store));
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    assert_eq!(store.inspect(&name("acme"), &Stopper::default()).unwrap().faults, [""; 0]);
}

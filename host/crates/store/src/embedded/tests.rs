//! The embedded store on a real disk.

mod objects;
mod queues;
mod races;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::{BackupError, DirectoryError, EmbeddedOptions, EmbeddedStore, Stopper};
use crate::{
    CommitError, StateStore, StoreError, TenantState, Transaction,
    kv::{Condition, KvError, KvStore, StoreUse},
    testing::{LIMITS, block_on, commit, kv_store, name},
};

const NO_BOUND: u64 = u64::MAX;

fn open(dir: &TempDir) -> EmbeddedStore {
    EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap()
}

/// A store, and the state of the tenant `acme`.
fn acme() -> (TempDir, EmbeddedStore, Arc<dyn TenantState>) {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let tenant = store.tenant(&name("acme"), NO_BOUND);
    (dir, store, tenant)
}

fn begin(tenant: &Arc<dyn TenantState>) -> Transaction {
    Transaction::new(tenant.clone(), LIMITS)
}

fn put(tenant: &Arc<dyn TenantState>, users: &Arc<KvStore>, key: &str, value: &str) {
    let mut transaction = begin(tenant);
    transaction.set(users, key, value.into(), None, Condition::Any).unwrap();
    commit(transaction).unwrap();
}

fn value(tenant: &Arc<dyn TenantState>, users: &KvStore, key: &str) -> Option<String> {
    let entry = begin(tenant).get(users, key).unwrap();
    entry.map(|entry| String::from_utf8(entry.value).unwrap())
}

fn conflicts(transaction: Transaction) -> bool {
    matches!(commit(transaction), Err(CommitError::Conflict { .. }))
}

#[test]
fn sqlite_has_no_known_loss_of_commits() {
    // Versions before it may lose a commit that overlaps a checkpoint.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn a_commit_is_there_after_the_store_was_opened_again() {
    let (dir, store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "7", "Ada");
    drop((store, tenant));
    let store = open(&dir);
    let tenant = store.tenant(&name("acme"), NO_BOUND);
    assert_eq!(value(&tenant, &users, "7").as_deref(), Some("Ada"));
    assert_eq!(value(&store.tenant(&name("umbra"), NO_BOUND), &users, "7"), None);
    assert_eq!(value(&tenant, &kv_store("others"), "7"), None);
}

#[test]
fn versions_grow_over_deletes_and_new_starts() {
    let (dir, store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "7", "Ada");
    let first = begin(&tenant).get(&users, "7").unwrap().unwrap().version;
    let mut transaction = begin(&tenant);
    assert!(transaction.delete(&users, "7", Condition::Version(first)).unwrap());
    commit(transaction).unwrap();
    drop((store, tenant));
    let tenant = open(&dir).tenant(&name("acme"), NO_BOUND);
    put(&tenant, &users, "7", "Ada");
    assert!(begin(&tenant).get(&users, "7").unwrap().unwrap().version > first);
}

#[test]
fn a_transaction_reads_one_snapshot() {
    let (_dir, _store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "a", "1");
    let mut reader = begin(&tenant);
    assert_eq!(reader.get(&users, "a").unwrap().unwrap().value, b"1");
    put(&tenant, &users, "a", "2");
    put(&tenant, &users, "b", "2");
    assert_eq!(reader.get(&users, "a").unwrap().unwrap().value, b"1");
    assert_eq!(reader.get(&users, "b").unwrap(), None);
    assert_eq!(reader.list(&users, "", None, 10).unwrap().keys, ["a"]);
}

#[test]
fn a_commit_fails_where_a_value_that_was_read_has_changed() {
    let (_dir, _store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "a", "1");
    let mut transactions = [begin(&tenant), begin(&tenant), begin(&tenant)];
    for transaction in &mut transactions {
        transaction.increment(&users, "a", 1).unwrap();
    }
    let [first, second, mut unrelated] = transactions;
    unrelated.discard();
    unrelated.set(&users, "b", "1".into(), None, Condition::Any).unwrap();
    assert!(commit(first).is_ok());
    let error = commit(second).unwrap_err();
    assert_eq!(
        error.to_string(),
        "another invocation changed key \"a\" of the kv store `app/users`, which this one had read"
    );
    // It read `a` as well, so its write to another key rests on what is no longer so.
    assert!(conflicts(unrelated));
    assert_eq!(value(&tenant, &users, "a").as_deref(), Some("2"));
    assert_eq!(value(&tenant, &users, "b"), None);
}

#[test]
fn a_commit_without_reads_never_conflicts() {
    let (_dir, _store, tenant) = acme();
    let users = kv_store("users");
    let (mut first, mut second) = (begin(&tenant), begin(&tenant));
    first.set(&users, "a", "1".into(), None, Condition::Any).unwrap();
    second.set(&users, "a", "2".into(), None, Condition::Any).unwrap();
    assert!(commit(second).is_ok() && commit(first).is_ok());
    assert_eq!(value(&tenant, &users, "a").as_deref(), Some("1"));
}

#[test]
fn an_absent_key_and_a_listed_range_are_reads() {
    let (_dir, _store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "b1", "");
    let (mut absent, mut lister, mut other) = (begin(&tenant), begin(&tenant), begin(&tenant));
    assert!(absent.set(&users, "a", "1".into(), None, Condition::Absent).unwrap());
    assert_eq!(lister.list(&users, "a", None, 10).unwrap().keys, [""; 0]);
    assert_eq!(other.list(&users, "b", None, 10).unwrap().keys, ["b1"]);
    for transaction in [&mut lister, &mut other] {
        transaction.set(&users, "count", "0".into(), None, Condition::Any).unwrap();
    }
    put(&tenant, &users, "a", "2");
    assert!(conflicts(absent));
    assert!(conflicts(lister));
    assert!(commit(other).is_ok());
}

#[test]
fn a_store_and_a_tenant_have_a_bound_of_bytes() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir);
    let tenant = store.tenant(&name("acme"), 2_000);
    let small = Arc::new(KvStore { max_bytes: 1_000, ..(*kv_store("small")).clone() });
    let large = kv_store("large");
    let fill = |store: &Arc<KvStore>, key: &str, bytes: usize| {
        let mut transaction = begin(&tenant);
        transaction.set(store, key, vec![0; bytes], None, Condition::Any).unwrap();
        commit(transaction).map(drop)
    };
    // Of 1,000 bytes, 64 are the entry's and one is the key's.
    assert_eq!(fill(&small, "a", 935), Ok(()));
    let error = fill(&small, "b", 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kv store `app/small` would have 1065 bytes, and may have 1000"
    );
    assert_eq!(fill(&large, "a", 935), Ok(()));
    let error = fill(&large, "b", 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state of the tenant would have 2065 bytes, and may have 2000"
    );
    // A full store can still be made smaller, and then has room.
    tenant.set_max_bytes(100);
    assert_eq!(fill(&small, "a", 10), Ok(()));
    let mut transaction = begin(&tenant);
    transaction.delete(&large, "a", Condition::Any).unwrap();
    commit(transaction).unwrap();
    tenant.set_max_bytes(2_000);
    assert_eq!(fill(&large, "b", 935), Ok(()));
}

#[test]
fn an_expired_entry_is_not_there_and_gives_its_bytes_back() {
    let (_dir, _store, tenant) = acme();
    let users = Arc::new(KvStore { max_bytes: 200, ..(*kv_store("users")).clone() });
    let mut transaction = begin(&tenant);
    let soon = Some(Duration::from_millis(20));
    transaction.set(&users, "session", vec![0; 100], soon, Condition::Any).unwrap();
    commit(transaction).unwrap();
    assert!(value(&tenant, &users, "session").is_some());
    let until = Instant::now() + Duration::from_secs(10);
    while value(&tenant, &users, "session").is_some() {
        assert!(Instant::now() < until, "it does not expire");
    }
    assert_eq!(begin(&tenant).list(&users, "", None, 10).unwrap().keys, [""; 0]);
    let mut transaction = begin(&tenant);
    assert!(!transaction.delete(&users, "session", Condition::Any).unwrap());
    assert!(transaction.set(&users, "x", Vec::new(), None, Condition::Absent).unwrap());
    commit(transaction).unwrap();
    // Of 200 bytes, `x` has 65.
    put(&tenant, &users, "other", &"o".repeat(66));
}

#[test]
fn a_directory_is_for_one_host() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a/state");
    let store = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    let error = EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap_err();
    assert!(matches!(error, DirectoryError::InUse { .. }));
    assert!(error.to_string().contains("is in use by another process"), "{error}");
    drop(store);
    EmbeddedStore::open(&path, EmbeddedOptions::default()).unwrap();
}

#[test]
fn a_directory_may_be_reached_by_a_link_and_may_be_a_new_file_system() {
    let dir = TempDir::new().unwrap();
    fs::create_dir_all(dir.path().join("disk/lost+found")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("disk"), dir.path().join("link")).unwrap();
    let link = dir.path().join("link");
    let store = EmbeddedStore::open(&link, EmbeddedOptions::default()).unwrap();
    let tenant = store.tenant(&name("acme"), NO_BOUND);
    put(&tenant, &kv_store("users"), "7", "Ada");
    assert_eq!(value(&tenant, &kv_store("users"), "7").as_deref(), Some("Ada"));
}

#[test]
fn a_directory_of_something_else_is_refused() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("thesis.tex"), "").unwrap();
    let error = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap_err();
    assert!(error.to_string().contains("is not empty, and no state directory"), "{error}");
    assert!(!dir.path().join("lacewing.state").exists());
    fs::write(dir.path().join("lacewing.state"), "7\n").unwrap();
    let error = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap_err();
    assert!(error.to_string().contains("has form \"7\", and this host knows form 1"), "{error}");
}

#[test]
fn a_database_of_a_later_version_is_refused() {
    let (dir, store, tenant) = acme();
    put(&tenant, &kv_store("users"), "7", "Ada");
    drop((store, tenant));
    let file = dir.path().join("acme/state.db");
    let connection = Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    drop(connection);
    let tenant = open(&dir).tenant(&name("acme"), NO_BOUND);
    let error = begin(&tenant).get(&kv_store("users"), "7").unwrap_err();
    assert_eq!(error, KvError::Store(StoreError::NewerSchema { found: 9, known: 2 }));
}

#[test]
fn a_damaged_database_is_told_from_others() {
    let (dir, store, tenant) = acme();
    put(&tenant, &kv_store("users"), "7", "Ada");
    put(&store.tenant(&name("umbra"), NO_BOUND), &kv_store("users"), "7", "Bea");
    drop((store, tenant));
    fs::write(dir.path().join("acme/state.db"), "no database, and longer than a header".repeat(20))
        .unwrap();
    let store = open(&dir);
    let tenant = store.tenant(&name("acme"), NO_BOUND);
    let error = begin(&tenant).get(&kv_store("users"), "7").unwrap_err();
    assert!(matches!(error, KvError::Store(StoreError::Damaged(_))), "{error}");
    let neighbour = store.tenant(&name("umbra"), NO_BOUND);
    assert_eq!(value(&neighbour, &kv_store("users"), "7").as_deref(), Some("Bea"));
}

#[test]
fn a_check_counts_and_finds_what_is_damaged() {
    let (dir, store, tenant) = acme();
    put(&tenant, &kv_store("users"), "7", "Ada");
    put(&tenant, &kv_store("users"), "8", "Bea");
    put(&tenant, &kv_store("codes"), "x", "1");
    drop((store, tenant));
    let store = open(&dir);
    assert_eq!(store.tenants().unwrap(), [name("acme")]);
    let users = |id: &str, entries, bytes| StoreUse { id: id.into(), entries, bytes };
    let inspection = store.inspect(&name("acme"), &Stopper::default()).unwrap();
    assert_eq!(inspection.stores, [users("app/codes", 1, 66), users("app/users", 2, 136)]);
    assert_eq!(inspection.faults, [""; 0]);
    drop(store);
    let file = dir.path().join("acme/state.db");
    let connection = Connection::open(&file).unwrap();
    connection.execute("UPDATE store SET bytes = 7 WHERE name = 'app/users'", []).unwrap();
    drop(connection);
    let store = open(&dir);
    assert_eq!(
        store.inspect(&name("acme"), &Stopper::default()).unwrap().faults,
        ["the kv store `app/users` is charged with 2 entries of 7 bytes, and has 2 of 136"]
    );
    drop(store);
    let mut bytes = fs::read(&file).unwrap();
    let index = bytes.len() - 4096 / 2;
    bytes[index..].fill(0xff);
    fs::write(&file, bytes).unwrap();
    let found = open(&dir).inspect(&name("acme"), &Stopper::default());
    assert!(found.is_err() || !found.unwrap().faults.is_empty());
}

#[test]
fn a_backup_is_a_directory_of_state() {
    let (_dir, store, tenant) = acme();
    put(&tenant, &kv_store("users"), "7", "Ada");
    put(&store.tenant(&name("umbra"), NO_BOUND), &kv_store("users"), "7", "Eve");
    let copies = TempDir::new().unwrap();
    let copy = copies.path().join("monday/all");
    let back_up = |tenants: &[&str], to: &Path| {
        let tenants: Vec<_> = tenants.iter().map(|tenant| name(tenant)).collect();
        store.back_up(&tenants, to, &Stopper::default())
    };
    back_up(&["acme", "umbra"], &copy).unwrap();
    let error = back_up(&["acme"], &copy).unwrap_err().to_string();
    assert!(error.ends_with("is not empty: name a directory that does not exist"), "{error}");
    put(&tenant, &kv_store("users"), "7", "Bea");
    let copied = EmbeddedStore::open(&copy, EmbeddedOptions::default()).unwrap();
    assert_eq!(copied.tenants().unwrap(), [name("acme"), name("umbra")]);
    let copied = copied.tenant(&name("acme"), NO_BOUND);
    assert_eq!(value(&copied, &kv_store("users"), "7").as_deref(), Some("Ada"));
    back_up(&["umbra"], &copies.path().join("one")).unwrap();
    assert!(!copies.path().join("one/acme").exists());
    let inside = store.path().join("umbra/copy");
    assert!(matches!(back_up(&["acme"], &inside), Err(BackupError::Inside { .. })));
}

#[test]
fn a_backup_that_fails_leaves_an_empty_directory() {
    let (_dir, store, tenant) = acme();
    put(&tenant, &kv_store("users"), "7", "Ada");
    let copies = TempDir::new().unwrap();
    let stopper = Stopper::default();
    stopper.stop();
    let error = store.back_up(&[name("acme")], copies.path(), &stopper).unwrap_err();
    assert!(matches!(error, BackupError::Store { .. }), "{error}");
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 0);
    let umbra = store.path().join("umbra");
    fs::create_dir(&umbra).unwrap();
    fs::write(umbra.join("state.db"), "no database").unwrap();
    let both = [name("acme"), name("umbra")];
    let error = store.back_up(&both, copies.path(), &Stopper::default()).unwrap_err().to_string();
    assert!(error.starts_with("the state of tenant `umbra` cannot be copied"), "{error}");
    assert_eq!(fs::read_dir(copies.path()).unwrap().count(), 0);
}

/// Another program opens a copy, and may do to the copy what it likes.
#[test]
fn a_copy_is_a_database_of_its_own() {
    let (_dir, store, tenant) = acme();
    put(&tenant, &kv_store("users"), "7", "Ada");
    let copies = TempDir::new().unwrap();
    store.back_up(&[name("acme")], copies.path(), &Stopper::default()).unwrap();
    let file = copies.path().join("acme/state.db");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(&file, flags).unwrap();
    let found: Vec<u8> = copy
        .query_row("SELECT value FROM kv WHERE key = CAST('7' AS BLOB)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(found, b"Ada");
    assert!(copy.execute("DELETE FROM kv", []).is_err());
    drop(copy);
    // Nothing lies beside it: it is whole without a log.
    let names = fs::read_dir(file.parent().unwrap()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["state.db"]);
    Connection::open(&file).unwrap().execute("DELETE FROM kv", []).unwrap();
    assert_eq!(value(&tenant, &kv_store("users"), "7").as_deref(), Some("Ada"));
}

#[test]
fn a_snapshot_has_the_sizes_of_stores() {
    let (_dir, _store, tenant) = acme();
    assert_eq!(tenant.snapshot().unwrap().stores().unwrap(), []);
    put(&tenant, &kv_store("users"), "7", "Ada");
    put(&tenant, &kv_store("codes"), "x", "1");
    let mut snapshot = tenant.snapshot().unwrap();
    let used = |id: &str, entries, bytes| StoreUse { id: id.into(), entries, bytes };
    let found = snapshot.stores().unwrap();
    assert_eq!(found, [used("app/codes", 1, 66), used("app/users", 1, 68)]);
    put(&tenant, &kv_store("codes"), "y", "1");
    assert_eq!(snapshot.stores().unwrap(), found);
    tenant.set_max_bytes(7);
    assert_eq!(tenant.max_bytes(), 7);
}

#[test]
fn databases_that_nothing_uses_are_closed() {
    let dir = TempDir::new().unwrap();
    let options = EmbeddedOptions { open_databases: 3, ..EmbeddedOptions::default() };
    let store = EmbeddedStore::open(dir.path(), options).unwrap();
    let users = kv_store("users");
    let tenants: Vec<_> =
        (0..10).map(|n| store.tenant(&name(&format!("t{n}")), NO_BOUND)).collect();
    let mut held = begin(&tenants[0]);
    held.get(&users, "7").unwrap();
    for tenant in &tenants {
        put(tenant, &users, "7", "Ada");
        assert!(store.open_databases() <= 3);
    }
    // The one in use was not closed, and the others open again.
    assert_eq!(held.get(&users, "8").unwrap(), None);
    for tenant in &tenants {
        assert_eq!(value(tenant, &users, "7").as_deref(), Some("Ada"));
    }
}

#[test]
fn a_live_key_behind_expired_ones_is_a_change_of_a_range() {
    let (_dir, _store, tenant) = acme();
    let tickets = kv_store("tickets");
    let mut lister = begin(&tenant);
    assert_eq!(lister.list(&tickets, "", None, 1000).unwrap().keys, [""; 0]);
    lister.set(&tickets, "first", "mine".into(), None, Condition::Any).unwrap();
    let mut others = begin(&tenant);
    for n in 0..900 {
        let expired = Some(Duration::ZERO);
        others.set(&tickets, &format!("a{n:04}"), Vec::new(), expired, Condition::Any).unwrap();
    }
    others.set(&tickets, "z", Vec::new(), None, Condition::Any).unwrap();
    commit(others).unwrap();
    assert!(conflicts(lister));
}

#[test]
fn expired_entries_make_room_in_a_full_store() {
    let (_dir, _store, tenant) = acme();
    let codes = Arc::new(KvStore { max_bytes: 10_000, ..(*kv_store("codes")).clone() });
    for round in 0..20 {
        let mut transaction = begin(&tenant);
        for n in 0..100 {
            let key = format!("{round}-{n}");
            let expired = Some(Duration::ZERO);
            transaction.set(&codes, &key, vec![0; 20], expired, Condition::Any).unwrap();
        }
        assert_eq!(commit(transaction).map(drop), Ok(()), "round {round}");
    }
}

#[test]
fn a_log_that_is_too_large_ends_old_snapshots() {
    let (dir, _store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "a", "1");
    let log = dir.path().join("acme/state.db-wal");
    let mut old = begin(&tenant);
    old.get(&users, "a").unwrap();
    // Pages that do not change are not written.
    let large = ["x".repeat(1 << 20), "y".repeat(1 << 20)];
    let until = Instant::now() + Duration::from_secs(60);
    // The snapshot is too old after 5 s.
    let error = loop {
        for n in 0..8 {
            put(&tenant, &users, "large", &large[n % 2]);
        }
        if let Err(error) = old.get(&users, "a") {
            break error;
        }
        assert!(Instant::now() < until, "the snapshot stays");
    };
    assert!(error.to_string().ends_with("s ago, which is too old"), "{error}");
    while fs::metadata(&log).unwrap().len() > 64 << 20 {
        put(&tenant, &users, "large", &large[0]);
        assert!(Instant::now() < until, "the log stays large");
    }
    assert_eq!(value(&tenant, &users, "a").as_deref(), Some("1"));
}

#[test]
fn a_commit_that_nobody_waits_for_is_taken_back() {
    let (_dir, _store, tenant) = acme();
    let users = kv_store("users");
    put(&tenant, &users, "a", "1");
    // Others are ahead of it, so its batch has not begun when it is dropped.
    let mut ahead = Vec::new();
    for n in 0..2000 {
        let mut transaction = begin(&tenant);
        transaction.set(&users, &n.to_string(), "1".into(), None, Condition::Any).unwrap();
        let (state, changes) = transaction.into_changes().unwrap();
        ahead.push(state.commit(changes));
    }
    let mut transaction = begin(&tenant);
    transaction.set(&users, "a", "2".into(), None, Condition::Any).unwrap();
    let (state, changes) = transaction.into_changes().unwrap();
    drop(state.commit(changes));
    for commit in ahead {
        block_on(commit).unwrap();
    }
    put(&tenant, &users, "b", "1");
    assert_eq!(value(&tenant, &users, "a").as_deref(), Some("1"));
}

#[test]
fn commits_that_wait_have_a_bound() {
    let (_dir, _store, tenant) = acme();
    let users = kv_store("users");
    let mut commits = Vec::new();
    let refused = (0..1000).find_map(|n| {
        let mut transaction = begin(&tenant);
        for part in 0..3 {
            let value = vec![0; 1 << 20];
            transaction.set(&users, &format!("{n}-{part}"), value, None, Condition::Any).unwrap();
        }
        let (state, changes) = transaction.into_changes().unwrap();
        let mut commit = state.commit(changes);
        match futures_util::FutureExt::now_or_never(&mut commit) {
            Some(Err(error)) => Some(error),
            Some(Ok(_)) | None => {
                commits.push(commit);
                None
            }
        }
    });
    let refused = refused.expect("64 MiB wait").to_string();
    assert!(refused.ends_with("commits of the tenant wait for the disk already"), "{refused}");
    for commit in commits {
        block_on(commit).unwrap();
    }
}

#[test]
fn snapshots_have_a_bound() {
    let (_dir, _store, tenant) = acme();
    let users = kv_store("users");
    let mut readers: Vec<_> = (0..128).map(|_| begin(&tenant)).collect();
    for reader in &mut readers {
        reader.get(&users, "7").unwrap();
    }
    let error = begin(&tenant).get(&users, "7").unwrap_err();
    assert_eq!(error.to_string(), "128 invocations of the tenant read its state already");
    readers.pop();
    assert_eq!(begin(&tenant).get(&users, "7").unwrap(), None);
}

/// Runs a transaction again until it is committed.
fn until_committed(tenant: &Arc<dyn TenantState>, mut run: impl FnMut(&mut Transaction)) {
    loop {
        let mut transaction = begin(tenant);
        run(&mut transaction);
        match commit(transaction) {
            Err(CommitError::Conflict { .. }) => {}
            committed => {
                committed.unwrap();
                return;
            }
        }
    }
}

#[test]
fn concurrent_transfers_keep_the_sum() {
    const ACCOUNTS: u64 = 5;
    let (_dir, _store, tenant) = acme();
    let accounts = kv_store("accounts");
    for account in 0..ACCOUNTS {
        put(&tenant, &accounts, &account.to_string(), "100");
    }
    let sum = |transaction: &mut Transaction| -> i64 {
        let keys = transaction.list(&accounts, "", None, 10).unwrap().keys;
        keys.iter().map(|key| transaction.increment(&accounts, key, 0).unwrap()).sum()
    };
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let (tenant, accounts) = (&tenant, &accounts);
            scope.spawn(move || {
                for n in 0..100 {
                    let (from, to) = ((worker + n) % ACCOUNTS, (worker * n + 1) % ACCOUNTS);
                    until_committed(tenant, |transaction| {
                        transaction.increment(accounts, &from.to_string(), -7).unwrap();
                        transaction.increment(accounts, &to.to_string(), 7).unwrap();
                    });
                }
            });
        }
        for _ in 0..50 {
            assert_eq!(sum(&mut begin(&tenant)), 500);
        }
    });
    assert_eq!(sum(&mut begin(&tenant)), 500);
}

/// Two transactions each read both keys, and set one to zero if both are one. At most one may.
#[test]
fn the_check_at_commit_prevents_write_skew() {
    for checked in [true, false] {
        let (_dir, _store, tenant) = acme();
        let duty = kv_store("duty");
        put(&tenant, &duty, "ada", "1");
        put(&tenant, &duty, "bea", "1");
        let changes = ["ada", "bea"].map(|doctor| {
            let mut transaction = begin(&tenant);
            let on_duty = ["ada", "bea"]
                .map(|doctor| transaction.get(&duty, doctor).unwrap().unwrap().value == b"1");
            assert_eq!(on_duty, [true; 2]);
            transaction.set(&duty, doctor, "0".into(), None, Condition::Any).unwrap();
            let (_, mut changes) = transaction.into_changes().unwrap();
            if !checked {
                changes.reads.clear();
            }
            changes
        });
        let committed = changes.map(|changes| block_on(tenant.commit(changes)).is_ok());
        assert_eq!(committed, [true, !checked]);
        let on_duty = ["ada", "bea"].map(|doctor| value(&tenant, &duty, doctor).unwrap());
        assert_eq!(on_duty.contains(&"1".to_owned()), checked, "{on_duty:?}");
    }
}

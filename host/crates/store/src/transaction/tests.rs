//! Transactions, beside a model that does each step at once.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

use crate::{
    StateStore,
    embedded::{EmbeddedOptions, EmbeddedStore},
    kv::MAX_KEY_BYTES,
    testing::{LIMITS, commit, kv_store, name},
};

fn tenant() -> (TempDir, Arc<dyn TenantState>) {
    let dir = TempDir::new().unwrap();
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let tenant = store.tenant(&name("acme"), u64::MAX);
    (dir, tenant)
}

#[test]
fn a_transaction_sees_its_own_writes() {
    let (_dir, tenant) = tenant();
    let users = kv_store("users");
    let mut transaction = Transaction::new(tenant.clone(), LIMITS);
    assert!(transaction.set(&users, "7", "Ada".into(), None, Condition::Absent).unwrap());
    assert!(!transaction.set(&users, "7", "Bea".into(), None, Condition::Absent).unwrap());
    let entry = transaction.get(&users, "7").unwrap().unwrap();
    assert_eq!(entry.value, b"Ada");
    let at = Condition::Version(entry.version);
    assert!(transaction.set(&users, "7", "Bea".into(), None, at).unwrap());
    assert!(!transaction.set(&users, "7", "Cleo".into(), None, at).unwrap());
    assert!(transaction.delete(&users, "7", Condition::Any).unwrap());
    assert!(!transaction.delete(&users, "7", Condition::Any).unwrap());
    assert_eq!(transaction.get(&users, "7").unwrap(), None);
    drop(transaction);
    assert_eq!(Transaction::new(tenant, LIMITS).get(&users, "7").unwrap(), None);
}

#[test]
fn keys_and_values_have_limits() {
    let (_dir, tenant) = tenant();
    let users = kv_store("users");
    let mut transaction = Transaction::new(tenant, EffectLimits { count: 2, bytes: 3 << 20 });
    let mut set = |key: &str, bytes: u64| {
        let value = vec![0; usize::try_from(bytes).unwrap()];
        let set = transaction.set(&users, key, value, None, Condition::Any);
        set.map_err(|error| error.to_string())
    };
    assert_eq!(set(&"k".repeat(MAX_KEY_BYTES), KvStore::MAX_VALUE_BYTES), Ok(true));
    let long = "k".repeat(MAX_KEY_BYTES + 1);
    assert_eq!(set(&long, 0), Err("the key has 513 bytes; a key has 1 to 512".into()));
    assert_eq!(set("", 0), Err("the key has 0 bytes; a key has 1 to 512".into()));
    assert_eq!(
        set("a", KvStore::MAX_VALUE_BYTES + 1),
        Err("the value has 1048577 bytes; the limit is 1048576 (`max_value_kib`)".into())
    );
    assert_eq!(set("a", KvStore::MAX_VALUE_BYTES), Ok(true));
    assert_eq!(set("a", 7), Ok(true));
    assert_eq!(set("b", 7), Err("the invocation has 2 effects already (`effects`)".into()));
    assert_eq!(set("a", KvStore::MAX_VALUE_BYTES), Ok(true));
    let mut transaction = Transaction::new(transaction.state, EffectLimits { count: 9, bytes: 80 });
    assert!(transaction.set(&users, "a", vec![0; 15], None, Condition::Any).unwrap());
    let error = transaction.set(&users, "a", vec![0; 16], None, Condition::Any).unwrap_err();
    assert_eq!(error.to_string(), "the effects of the invocation have over 0 KiB (`effect_kib`)");
}

#[test]
fn an_increment_counts_in_decimal_digits_and_keeps_the_time_to_live() {
    let (_dir, tenant) = tenant();
    let hits = kv_store("hits");
    let mut transaction = Transaction::new(tenant.clone(), LIMITS);
    assert_eq!(transaction.increment(&hits, "a", 5).unwrap(), 5);
    assert_eq!(transaction.increment(&hits, "a", -7).unwrap(), -2);
    assert_eq!(transaction.get(&hits, "a").unwrap().unwrap().value, b"-2");
    let day = Some(Duration::from_secs(86_400));
    transaction.set(&hits, "b", i64::MAX.to_string().into(), day, Condition::Any).unwrap();
    assert_eq!(transaction.increment(&hits, "b", 1), Err(KvError::Overflow));
    transaction.increment(&hits, "b", -1).unwrap();
    assert!(transaction.get(&hits, "b").unwrap().unwrap().expires_ms.is_some());
    transaction.set(&hits, "c", "seven".into(), None, Condition::Any).unwrap();
    assert_eq!(transaction.increment(&hits, "c", 1), Err(KvError::NotANumber));
    commit(transaction).unwrap();
    assert_eq!(Transaction::new(tenant, LIMITS).increment(&hits, "a", 1).unwrap(), -1);
}

#[test]
fn an_invocation_with_effects_reads_a_bounded_number_of_keys() {
    let (_dir, tenant) = tenant();
    let users = kv_store("users");
    let mut reader = Transaction::new(tenant.clone(), LIMITS);
    for n in 0..=MAX_ROWS_READ {
        assert_eq!(reader.get(&users, &n.to_string()).unwrap(), None);
    }
    let error = reader.set(&users, "a", Vec::new(), None, Condition::Any).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the invocation read over 10000 keys; one with effects may not read more"
    );
}

#[test]
fn a_write_that_fails_is_not_committed() {
    let (_dir, tenant) = tenant();
    let users = kv_store("users");
    let mut transaction = Transaction::new(tenant.clone(), EffectLimits { count: 1, bytes: 999 });
    transaction.set(&users, "a", "1".into(), None, Condition::Any).unwrap();
    transaction.set(&users, "b", "1".into(), None, Condition::Any).unwrap_err();
    transaction.set(&users, "a", vec![0; 999], None, Condition::Any).unwrap_err();
    for n in 0..MAX_ROWS_READ {
        transaction.get(&users, &format!("none{n}")).unwrap();
    }
    transaction.get(&users, "one more").unwrap_err();
    transaction.set(&users, "a", "2".into(), None, Condition::Any).unwrap_err();
    commit(transaction).unwrap();
    let mut reader = Transaction::new(tenant, LIMITS);
    assert_eq!(reader.get(&users, "a").unwrap().unwrap().value, b"1");
    assert_eq!(reader.get(&users, "b").unwrap(), None);
}

#[test]
fn one_call_gets_a_bounded_number_of_bytes() {
    let (_dir, tenant) = tenant();
    let users = kv_store("users");
    let mut transaction = Transaction::new(tenant, LIMITS);
    transaction.set(&users, "a", vec![0; 1 << 20], None, Condition::Any).unwrap();
    let keys = vec!["a".to_owned(); 9];
    assert_eq!(transaction.get_many(&users, &keys[..8]).unwrap().len(), 8);
    let error = transaction.get_many(&users, &keys).unwrap_err();
    assert_eq!(error.to_string(), "the values have over 8192 KiB together: get fewer keys at once");
}

#[derive(Clone, Debug)]
enum Step {
    Set(String, u8),
    Delete(String),
    Get(String),
    List(String, Option<String>, usize),
    Commit,
    Discard,
}

fn key() -> impl Strategy<Value = String> {
    "[ab\u{e9}]{1,3}"
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (key(), any::<u8>()).prop_map(|(key, value)| Step::Set(key, value)),
        2 => key().prop_map(Step::Delete),
        2 => key().prop_map(Step::Get),
        3 => ("[ab]{0,2}", proptest::option::of(key()), 1..6_usize)
            .prop_map(|(prefix, after, limit)| Step::List(prefix, after, limit)),
        1 => Just(Step::Commit),
        1 => Just(Step::Discard),
    ]
}

/// All keys of a listing, page by page.
fn listed(
    transaction: &mut Transaction,
    store: &KvStore,
    prefix: &str,
    after: Option<String>,
    limit: usize,
) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), after);
    loop {
        let page = transaction.list(store, prefix, after.as_deref(), limit).unwrap();
        assert!(page.keys.len() <= limit);
        keys.extend(page.keys);
        match page.next {
            Some(next) => after = Some(next),
            None => return keys,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_transaction_after_the_other_is_as_one_step_after_the_other(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let (_dir, tenant) = tenant();
        let store = kv_store("things");
        let (mut committed, mut model) = (BTreeMap::new(), BTreeMap::new());
        let mut transaction = Transaction::new(tenant.clone(), LIMITS);
        for step in steps {
            match step {
                Step::Set(key, value) => {
                    transaction.set(&store, &key, vec![value], None, Condition::Any).unwrap();
                    model.insert(key, value);
                }
                Step::Delete(key) => {
                    let deleted = transaction.delete(&store, &key, Condition::Any).unwrap();
                    prop_assert_eq!(deleted, model.remove(&key).is_some());
                }
                Step::Get(key) => {
                    let entry = transaction.get(&store, &key).unwrap();
                    let expected = model.get(&key).map(|value| vec![*value]);
                    prop_assert_eq!(entry.map(|entry| entry.value), expected);
                }
                Step::List(prefix, after, limit) => {
                    let expected: Vec<String> = model
                        .keys()
                        .filter(|key| key.starts_with(&prefix))
                        .filter(|key| after.as_ref().is_none_or(|after| *key > after))
                        .cloned()
                        .collect();
                    let keys = listed(&mut transaction, &store, &prefix, after, limit);
                    prop_assert_eq!(keys, expected);
                }
                Step::Commit => {
                    let ended = std::mem::replace(
                        &mut transaction,
                        Transaction::new(tenant.clone(), LIMITS),
                    );
                    if !ended.is_read_only() {
                        prop_assert!(commit(ended).is_ok());
                    }
                    committed = model.clone();
                }
                Step::Discard => {
                    transaction = Transaction::new(tenant.clone(), LIMITS);
                    model = committed.clone();
                }
            }
        }
    }
}

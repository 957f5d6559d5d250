//! Queues on a real disk.

use std::time::Duration;

use lacewing_base::Queue;

use super::{acme, begin, open};
use crate::{
    CommitError, StateStore, TenantState, Transaction,
    kv::{KvError, Version},
    queue::{
        NewMessage, StoredMessage, dead_letters, due_keys, message as find, next_due_ms, ready,
        ready_keys,
    },
    testing::{commit, name},
};

type Tenant = std::sync::Arc<dyn TenantState>;

fn orders() -> Queue {
    Queue::new("shop/orders", u64::MAX, Queue::MAX_MESSAGE_BYTES)
}

fn message(text: &str) -> NewMessage {
    NewMessage { payload: text.into(), ..NewMessage::default() }
}

fn send(tenant: &Tenant, queue: &Queue, message: NewMessage) {
    let mut transaction = begin(tenant);
    assert_eq!(transaction.send(queue, message), Ok(true));
    commit(transaction).unwrap();
}

fn texts(stored: &[StoredMessage]) -> Vec<String> {
    let text = |stored: &StoredMessage| {
        String::from_utf8(stored.message.as_ref().unwrap().payload.clone()).unwrap()
    };
    stored.iter().map(text).collect()
}

fn ready_of(tenant: &Tenant, queue: &Queue) -> Vec<StoredMessage> {
    ready(&mut *tenant.snapshot().unwrap(), queue, None, 100).unwrap()
}

fn dead_of(tenant: &Tenant, queue: &Queue) -> Vec<StoredMessage> {
    dead_letters(&mut *tenant.snapshot().unwrap(), queue, None, 100).unwrap()
}

fn done(tenant: &Tenant, step: impl FnOnce(&mut Transaction) -> Result<bool, KvError>) {
    let mut transaction = begin(tenant);
    assert_eq!(step(&mut transaction), Ok(true));
    commit(transaction).unwrap();
}

#[test]
fn messages_wait_in_the_order_of_their_commits() {
    let (dir, store, tenant) = acme();
    let queue = orders();
    // The transaction that sends first commits last.
    let mut late = begin(&tenant);
    late.send(&queue, message("c")).unwrap();
    late.send(&queue, message("d")).unwrap();
    send(&tenant, &queue, message("a"));
    send(&tenant, &queue, message("b"));
    let seen = ready_of(&tenant, &queue);
    assert_eq!(texts(&seen), ["a", "b"]);
    commit(late).unwrap();
    let last = seen.last().unwrap().key.clone();
    let behind = ready(&mut *tenant.snapshot().unwrap(), &queue, Some(&last), 1).unwrap();
    assert_eq!(texts(&behind), ["c"]);
    let keys = ready_keys(&mut *tenant.snapshot().unwrap(), &queue, Some(&last), 1).unwrap();
    assert_eq!(keys, [&*behind[0].key]);
    drop((tenant, store));
    let tenant = open(&dir).tenant(&name("acme"), u64::MAX);
    assert_eq!(texts(&ready_of(&tenant, &queue)), ["a", "b", "c", "d"]);
}

#[test]
fn a_message_is_acknowledged_once() {
    let (_dir, _store, tenant) = acme();
    let queue = orders();
    send(&tenant, &queue, message("a"));
    let stored = ready_of(&tenant, &queue).remove(0);
    let (mut first, mut second) = (begin(&tenant), begin(&tenant));
    assert_eq!(first.acknowledge(&queue, &stored), Ok(true));
    assert_eq!(second.acknowledge(&queue, &stored), Ok(true));
    commit(first).unwrap();
    assert!(matches!(commit(second), Err(CommitError::Conflict { .. })));
    assert_eq!(begin(&tenant).acknowledge(&queue, &stored), Ok(false));
    assert!(ready_of(&tenant, &queue).is_empty());
}

#[test]
fn a_delayed_message_is_due_at_its_time() {
    let (_dir, _store, tenant) = acme();
    let queue = orders();
    for (text, seconds) in [("late", 7200), ("soon", 60)] {
        let delay = Duration::from_secs(seconds);
        send(&tenant, &queue, NewMessage { delay, ..message(text) });
    }
    assert!(ready_of(&tenant, &queue).is_empty());
    let mut snapshot = tenant.snapshot().unwrap();
    let now = snapshot.taken_ms();
    let mut at = |ms| {
        let keys = due_keys(&mut *snapshot, &queue, ms, 100).unwrap();
        let found = keys.iter().map(|key| find(&mut *snapshot, &queue, key).unwrap().unwrap());
        texts(&found.collect::<Vec<_>>())
    };
    assert_eq!(at(now), [""; 0]);
    assert_eq!(at(now + 60_000), ["soon"]);
    assert_eq!(at(now + 7_200_000), ["soon", "late"]);
    let next = next_due_ms(&mut *snapshot, &queue, now).unwrap().unwrap();
    assert!((now..=now + 60_000).contains(&next));
    let next = next_due_ms(&mut *snapshot, &queue, next).unwrap().unwrap();
    assert!((now + 60_000..=now + 7_200_000).contains(&next));
    assert_eq!(next_due_ms(&mut *snapshot, &queue, next).unwrap(), None);
}

#[test]
fn a_message_that_failed_is_delayed_and_knows_why() {
    let (_dir, _store, tenant) = acme();
    let queue = orders();
    send(&tenant, &queue, message("a"));
    let stored = ready_of(&tenant, &queue).remove(0);
    let after = Duration::from_secs(10);
    done(&tenant, |transaction| transaction.give_back(&queue, &stored, after, "no stock"));
    assert!(ready_of(&tenant, &queue).is_empty());
    let mut snapshot = tenant.snapshot().unwrap();
    let later = snapshot.taken_ms() + 10_000;
    let key = due_keys(&mut *snapshot, &queue, later, 100).unwrap().remove(0);
    let again = find(&mut *snapshot, &queue, &key).unwrap().unwrap();
    assert_eq!(again.expires_ms, stored.expires_ms);
    let head = again.message.unwrap().head;
    assert_eq!((head.attempts, head.failure.as_deref()), (1, Some("no stock")));
}

#[test]
fn a_message_of_a_queue_in_order_keeps_its_place() {
    let (_dir, _store, tenant) = acme();
    let queue = Queue { is_fifo: true, ..orders() };
    for text in ["a", "b"] {
        send(&tenant, &queue, NewMessage { group: Some("g".into()), ..message(text) });
    }
    let stored = ready_of(&tenant, &queue).remove(0);
    let after = Duration::from_secs(10);
    done(&tenant, |transaction| transaction.give_back(&queue, &stored, after, "no stock"));
    let ready = ready_of(&tenant, &queue);
    assert_eq!(texts(&ready), ["a", "b"]);
    let head = &ready[0].message.as_ref().unwrap().head;
    assert_eq!((head.attempts, head.group.as_deref()), (1, Some("g")));
    assert!(head.due_ms > Some(head.sent_ms));
    let delayed = NewMessage { delay: after, ..message("c") };
    assert_eq!(begin(&tenant).send(&queue, delayed), Err(KvError::DelayInOrder));
}

#[test]
fn dead_letters_are_redriven() {
    let (_dir, _store, tenant) = acme();
    let queue = orders();
    for text in ["a", "b"] {
        send(&tenant, &queue, message(text));
    }
    let long = "é".repeat(1000);
    for stored in ready_of(&tenant, &queue) {
        done(&tenant, |transaction| transaction.bury(&queue, &stored, &long));
    }
    assert!(ready_of(&tenant, &queue).is_empty());
    let dead = dead_of(&tenant, &queue);
    assert_eq!(texts(&dead), ["a", "b"]);
    let head = &dead[0].message.as_ref().unwrap().head;
    assert_eq!((head.attempts, head.failure.as_deref()), (1, Some(&*"é".repeat(512))));
    let mut transaction = begin(&tenant);
    assert_eq!(transaction.redrive(&queue, 1), Ok(1));
    commit(transaction).unwrap();
    let ready = ready_of(&tenant, &queue);
    assert_eq!(texts(&ready), ["a"]);
    assert_eq!(ready[0].message.as_ref().unwrap().head.attempts, 0);
    assert_eq!(texts(&dead_of(&tenant, &queue)), ["b"]);
}

#[test]
fn a_purge_takes_all_but_dead_letters() {
    let (_dir, _store, tenant) = acme();
    let queue = orders();
    send(&tenant, &queue, message("dead"));
    let stored = ready_of(&tenant, &queue).remove(0);
    done(&tenant, |transaction| transaction.bury(&queue, &stored, "no stock"));
    send(&tenant, &queue, message("a"));
    send(&tenant, &queue, NewMessage { delay: Duration::from_secs(60), ..message("b") });
    let mut transaction = begin(&tenant);
    assert_eq!(transaction.purge(&queue, 100), Ok(2));
    commit(transaction).unwrap();
    let used = tenant.snapshot().unwrap().stores().unwrap();
    let used: Vec<_> = used.iter().map(|used| (&*used.id, used.entries)).collect();
    assert_eq!(used, [("dead:shop/orders", 1)]);
}

#[test]
fn a_deduplication_id_is_sent_once() {
    let (_dir, _store, tenant) = acme();
    let queue = orders();
    let once = || NewMessage { deduplication_id: Some("7".into()), ..message("a") };
    send(&tenant, &queue, once());
    let mut again = begin(&tenant);
    assert_eq!(again.send(&queue, once()), Ok(false));
    assert!(again.is_read_only());
    // Two that do not know of each other.
    let other = || NewMessage { deduplication_id: Some("8".into()), ..message("b") };
    let (mut first, mut second) = (begin(&tenant), begin(&tenant));
    first.send(&queue, other()).unwrap();
    second.send(&queue, other()).unwrap();
    commit(first).unwrap();
    assert!(matches!(commit(second), Err(CommitError::Conflict { .. })));
    assert_eq!(texts(&ready_of(&tenant, &queue)), ["a", "b"]);
}

#[test]
fn messages_have_bounds() {
    let (_dir, _store, tenant) = acme();
    let queue = Queue::new("shop/orders", 1000, 500);
    let mut transaction = begin(&tenant);
    let refused = |refused: Result<bool, KvError>| refused.unwrap_err().to_string();
    assert_eq!(
        refused(transaction.send(&queue, message(&"x".repeat(501)))),
        "the message has 501 bytes; the limit is 500 (`max_message_kib`)"
    );
    let delay = Queue::MAX_DELAY + Duration::from_secs(1);
    assert_eq!(
        refused(transaction.send(&queue, NewMessage { delay, ..message("a") })),
        "the message has a delay of 31622401 s; the longest is 31622400 s"
    );
    let group = Some(String::new());
    assert_eq!(
        refused(transaction.send(&queue, NewMessage { group, ..message("a") })),
        "the group of the message has 0 bytes; a group has 1 to 128"
    );
    for _ in 0..2 {
        transaction.send(&queue, message(&"x".repeat(500))).unwrap();
    }
    let over = commit(transaction).unwrap_err().to_string();
    assert!(over.starts_with("the queue `shop/orders` would have 1"), "{over}");
    assert!(ready_of(&tenant, &queue).is_empty());
    // A full queue can be purged, and takes messages again.
    send(&tenant, &queue, message("a"));
}

#[test]
fn appends_are_told_to_those_that_wait() {
    let (_dir, _store, tenant) = acme();
    let queue = orders();
    let mut appended = tenant.appended(&queue.messages.id);
    let mut other = tenant.appended(&"queue:shop/other".into());
    assert!(!appended.has_changed().unwrap());
    let mut transaction = begin(&tenant);
    transaction.send(&queue, message("a")).unwrap();
    let committed = commit(transaction).unwrap();
    assert_eq!(*appended.borrow_and_update(), committed);
    assert!(!other.has_changed().unwrap());
    assert_eq!(*other.borrow_and_update(), Version::ABSENT);
    // A change of another store is none.
    let mut transaction = begin(&tenant);
    transaction.acknowledge(&queue, &ready_of(&tenant, &queue)[0]).unwrap();
    commit(transaction).unwrap();
    assert!(!appended.has_changed().unwrap());
}

//! Deliveries from a store on a real disk to handlers of this file.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use futures_util::FutureExt;
use lacewing_base::KvStore;
use lacewing_store::{
    StateStore,
    embedded::{EmbeddedOptions, EmbeddedStore},
    queue::{NewMessage, dead_letters},
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{interval, timeout},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

type Answer = Box<dyn Fn(&str, u32) -> Handled + Send + Sync>;

/// A handler that counts its deliveries in the store, in the transaction of the acknowledgement.
struct Counting {
    answer: Answer,
    running: AtomicUsize,
    most_running: AtomicUsize,
    /// Texts of messages, in the order in which deliveries began.
    seen: Mutex<Vec<String>>,
    changed: Notify,
    /// Set to hold all deliveries.
    gate: watch::Sender<bool>,
}

fn counts() -> Arc<KvStore> {
    let id = "shop/counts".into();
    Arc::new(KvStore { id, max_bytes: u64::MAX, max_value_bytes: 1 << 20 })
}

impl Counting {
    fn new(answer: impl Fn(&str, u32) -> Handled + Send + Sync + 'static) -> Arc<Counting> {
        Arc::new(Counting {
            answer: Box::new(answer),
            running: AtomicUsize::new(0),
            most_running: AtomicUsize::new(0),
            seen: Mutex::default(),
            changed: Notify::new(),
            gate: watch::channel(true).0,
        })
    }

    async fn run(&self, delivery: Delivery<'_>) -> Handled {
        let text = String::from_utf8(delivery.message.payload.clone()).unwrap();
        self.seen.lock().push(text.clone());
        self.most_running.fetch_max(self.running.fetch_add(1, SeqCst) + 1, SeqCst);
        self.changed.notify_one();
        let _ = self.gate.subscribe().wait_for(|is_open| *is_open).await;
        let mut handled = (self.answer)(&text, delivery.attempt);
        if handled == Handled::Done {
            let Acknowledgement { state, write } = delivery.acknowledgement;
            let counts = counts();
            let step = |transaction: &mut Transaction| {
                transaction.increment(&counts, &text, 1).unwrap();
                write(transaction).unwrap().then_some(()).ok_or(())
            };
            match Transaction::run(state, LIMITS, step).await {
                Ok(_) => {}
                Err(RunError::Step(())) => handled = Handled::Gone,
                Err(RunError::Commit(error)) => panic!("{error}"),
            }
        }
        self.running.fetch_sub(1, SeqCst);
        self.changed.notify_one();
        handled
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().clone()
    }

    async fn until(&self, is_so: impl Fn(&Counting) -> bool) {
        let waiting = async {
            while !is_so(self) {
                self.changed.notified().await;
            }
        };
        timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("seen: {:?}", self.seen()));
    }
}

impl Handler for Counting {
    fn handle<'a>(&'a self, delivery: Delivery<'a>) -> BoxFuture<'a, Handled> {
        self.run(delivery).boxed()
    }
}

/// A queue, and the loop that delivers from it.
struct Running {
    _dir: TempDir,
    queue: Arc<Queue>,
    state: Arc<dyn TenantState>,
    stop: watch::Sender<bool>,
    delivering: JoinHandle<()>,
}

/// Retries that do not wait for long.
const SOON: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    first: Duration::from_millis(1),
    longest: Duration::from_millis(2),
};

fn queue_in(dir: &TempDir, is_fifo: bool) -> (Arc<Queue>, Arc<dyn TenantState>) {
    let store = EmbeddedStore::open(dir.path(), EmbeddedOptions::default()).unwrap();
    let state = store.tenant(&"acme".parse().unwrap(), u64::MAX);
    let queue = Queue::new("shop/orders", u64::MAX, Queue::MAX_MESSAGE_BYTES);
    (Arc::new(Queue { is_fifo, ..queue }), state)
}

fn start(
    (queue, state): (Arc<Queue>, Arc<dyn TenantState>),
    handler: &Arc<Counting>,
    concurrency: usize,
) -> (watch::Sender<bool>, JoinHandle<()>) {
    let (stop, stopped) = watch::channel(false);
    let handler = handler.clone();
    let trigger = QueueTrigger { queue, state, handler, concurrency, retry: SOON };
    let spawn: Spawn = Arc::new(|task| drop(tokio::spawn(task)));
    (stop, tokio::spawn(trigger.run(spawn, stopped)))
}

impl Running {
    fn start(handler: &Arc<Counting>, concurrency: usize, is_fifo: bool) -> Running {
        let dir = TempDir::new().unwrap();
        let (queue, state) = queue_in(&dir, is_fifo);
        let (stop, delivering) = start((queue.clone(), state.clone()), handler, concurrency);
        Running { _dir: dir, queue, state, stop, delivering }
    }

    async fn send(&self, message: NewMessage) {
        send(&self.state, &self.queue, message).await;
    }

    /// Waits until the queue has no message, and stops.
    async fn drain(self) -> Arc<dyn TenantState> {
        self.stop_at(0).await
    }

    /// Waits until the queue has so many messages, and stops.
    async fn stop_at(self, messages: u64) -> Arc<dyn TenantState> {
        let reached = async {
            // Between two looks other tests run.
            let mut looks = interval(Duration::from_millis(1));
            while depth(&self.state, &self.queue) != messages {
                looks.tick().await;
            }
        };
        timeout(PATIENCE, reached).await.expect("the queue has as many messages");
        self.stop.send_replace(true);
        timeout(PATIENCE, self.delivering).await.expect("the loop ends").unwrap();
        self.state
    }
}

async fn send(state: &Arc<dyn TenantState>, queue: &Queue, message: NewMessage) {
    let sent =
        Transaction::run(state, LIMITS, |transaction| transaction.send(queue, message.clone()));
    assert!(sent.await.unwrap().0);
}

fn failed(message: &str, retry: Retry) -> Handled {
    Handled::Failed(EventFailure { message: message.to_owned(), retry })
}

fn text(text: impl Into<String>) -> NewMessage {
    NewMessage { payload: text.into().into_bytes(), ..NewMessage::default() }
}

fn depth(state: &Arc<dyn TenantState>, queue: &Queue) -> u64 {
    let used = state.snapshot().unwrap().stores().unwrap();
    let used = used.iter().find(|used| *used.id == *queue.messages.id);
    used.map_or(0, |used| used.entries)
}

/// The number of times that each message took effect.
fn effects(state: &Arc<dyn TenantState>, texts: &[&str]) -> Vec<String> {
    let mut transaction = Transaction::new(state.clone(), LIMITS);
    let count = |text: &&str| {
        let entry = transaction.get(&counts(), text).unwrap();
        entry.map_or("0".to_owned(), |entry| String::from_utf8(entry.value).unwrap())
    };
    texts.iter().map(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_delivered_with_bounded_concurrency() {
    let handler = Counting::new(|_, _| Handled::Done);
    handler.gate.send_replace(false);
    let running = Running::start(&handler, 3, false);
    let texts: Vec<String> = (0..200).map(|number| format!("m{number}")).collect();
    for one in &texts {
        running.send(text(one)).await;
    }
    handler.until(|handler| handler.running.load(SeqCst) == 3).await;
    handler.gate.send_replace(true);
    let state = running.drain().await;
    assert_eq!(handler.most_running.load(SeqCst), 3);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(effects(&state, &texts), ["1"; 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_message_is_alone_with_its_failure() {
    let handler = Counting::new(|text, attempt| match (text, attempt) {
        ("poison", _) => failed(&format!("bad {attempt}"), Retry::Backoff),
        ("never", _) => failed("no", Retry::Never),
        ("twice", 1) => failed("not yet", Retry::AfterMs(1)),
        _ => Handled::Done,
    });
    let running = Running::start(&handler, 2, false);
    for one in ["poison", "good", "never", "twice", "fine"] {
        running.send(text(one)).await;
    }
    let queue = running.queue.clone();
    let state = running.drain().await;
    let texts = ["poison", "good", "never", "twice", "fine"];
    assert_eq!(effects(&state, &texts), ["0", "1", "0", "1", "1"]);
    let times = |one: &str| handler.seen().iter().filter(|seen| *seen == one).count();
    assert_eq!([times("poison"), times("twice"), times("never")], [3, 2, 1]);
    let dead = dead_letters(&mut *state.snapshot().unwrap(), &queue, None, 10).unwrap();
    let dead: Vec<_> = dead.into_iter().map(|dead| dead.message.unwrap()).collect();
    let dead: HashMap<_, _> = dead
        .iter()
        .map(|dead| (&*dead.payload, (dead.head.attempts, dead.head.failure.as_deref())))
        .collect();
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[&b"poison"[..]], (3, Some("bad 3")));
    assert_eq!(dead[&b"never"[..]], (1, Some("no")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_room_does_not_use_up_attempts() {
    let refusals = AtomicUsize::new(0);
    let handler = Counting::new(move |_, attempt| {
        assert_eq!(attempt, 1);
        match refusals.fetch_add(1, SeqCst) {
            0..20 => Handled::NotNow { after: Duration::from_millis(1) },
            _ => Handled::Done,
        }
    });
    let running = Running::start(&handler, 2, false);
    for one in ["a", "b", "c"] {
        running.send(text(one)).await;
    }
    let state = running.drain().await;
    assert_eq!(effects(&state, &["a", "b", "c"]), ["1"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_keep_their_order_and_do_not_wait_for_each_other() {
    let handler = Counting::new(|text, attempt| match (text, attempt) {
        ("a0", 1 | 2) => failed("not yet", Retry::Backoff),
        _ => Handled::Done,
    });
    let running = Running::start(&handler, 8, true);
    for number in 0..100 {
        for group in ["a", "b", "c"] {
            let message = text(format!("{group}{number}"));
            running.send(NewMessage { group: Some(group.into()), ..message }).await;
        }
    }
    let state = running.drain().await;
    for group in ["a", "b", "c"] {
        let mut seen = handler.seen();
        seen.retain(|text| text.starts_with(group));
        // The first message of a group is delivered until it is handled, and the rest after it.
        seen.dedup();
        let sent: Vec<String> = (0..100).map(|number| format!("{group}{number}")).collect();
        assert_eq!(seen, sent);
        let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
        assert_eq!(effects(&state, &sent), ["1"; 100]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_asks_for_an_endless_delay_delays_its_group_alone() {
    let handler = Counting::new(|text, _| match text {
        "endless" => failed("not yet", Retry::AfterMs(u64::MAX)),
        _ => Handled::Done,
    });
    let running = Running::start(&handler, 2, true);
    for one in ["endless", "a", "b"] {
        running.send(NewMessage { group: Some(one.into()), ..text(one) }).await;
    }
    handler.until(|handler| handler.seen().len() == 3).await;
    let state = running.stop_at(1).await;
    assert_eq!(effects(&state, &["endless", "a", "b"]), ["0", "1", "1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_comes_by_itself() {
    let handler = Counting::new(|_, _| Handled::Done);
    let running = Running::start(&handler, 1, false);
    running.send(NewMessage { delay: Duration::from_millis(300), ..text("late") }).await;
    running.send(NewMessage { delay: Duration::from_millis(100), ..text("soon") }).await;
    running.send(text("now")).await;
    running.drain().await;
    assert_eq!(handler.seen(), ["now", "soon", "late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_purged_while_its_handler_runs_takes_no_effect() {
    let handler = Counting::new(|_, _| Handled::Done);
    handler.gate.send_replace(false);
    let running = Running::start(&handler, 1, false);
    running.send(text("a")).await;
    handler.until(|handler| handler.running.load(SeqCst) == 1).await;
    let queue = running.queue.clone();
    let purged: Result<_, RunError<KvError>> =
        Transaction::run(&running.state, LIMITS, |transaction| transaction.purge(&queue, 8)).await;
    assert_eq!(purged.unwrap().0, 1);
    handler.gate.send_replace(true);
    handler.until(|handler| handler.running.load(SeqCst) == 0).await;
    let state = running.drain().await;
    assert_eq!(effects(&state, &["a"]), ["0"]);
}

/// Stops while deliveries run, and goes on with another loop over the same state.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_deliveries_and_loses_no_lease() {
    let handler = Counting::new(|_, _| Handled::Done);
    handler.gate.send_replace(false);
    let dir = TempDir::new().unwrap();
    let (queue, state) = queue_in(&dir, false);
    let texts: Vec<String> = (0..50).map(|number| format!("m{number}")).collect();
    for one in &texts {
        send(&state, &queue, text(one)).await;
    }
    let (stop, delivering) = start((queue.clone(), state.clone()), &handler, 4);
    handler.until(|handler| handler.running.load(SeqCst) == 4).await;
    stop.send_replace(true);
    handler.gate.send_replace(true);
    timeout(PATIENCE, delivering).await.expect("the loop ends").unwrap();
    let seen = handler.seen().len();
    assert!(seen < texts.len(), "{seen}");
    assert_eq!(depth(&state, &queue), (texts.len() - seen) as u64);
    // The rest is delivered by the next loop, at once.
    let (stop, delivering) = start((queue.clone(), state.clone()), &handler, 4);
    let running = Running { _dir: dir, queue, state, stop, delivering };
    let state = running.drain().await;
    let distinct: HashSet<String> = handler.seen().into_iter().collect();
    assert_eq!((distinct.len(), handler.seen().len()), (50, 50));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(effects(&state, &texts), ["1"; 50]);
}

/// A task that is dropped, as one that panics, gives its lease back.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_dropped_is_made_again() {
    let handler = Counting::new(|_, _| Handled::Done);
    let dir = TempDir::new().unwrap();
    let (queue, state) = queue_in(&dir, false);
    send(&state, &queue, text("a")).await;
    let (stop, stopped) = watch::channel(false);
    let trigger = QueueTrigger {
        queue: queue.clone(),
        state: state.clone(),
        handler: handler.clone(),
        concurrency: 1,
        retry: SOON,
    };
    let dropped = AtomicUsize::new(0);
    let spawn: Spawn = Arc::new(move |task| {
        if dropped.fetch_add(1, SeqCst) > 0 {
            tokio::spawn(task);
        }
    });
    let delivering = tokio::spawn(trigger.run(spawn, stopped));
    let running = Running { _dir: dir, queue, state, stop, delivering };
    let state = running.drain().await;
    assert_eq!(effects(&state, &["a"]), ["1"]);
}

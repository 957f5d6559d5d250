//! The one thread that advances the epoch of every engine.
//!
//! An OS thread and never a timer of the async runtime: a spinning guest can pin the thread that
//! drives the runtime's timers, and it is exactly the spinning guest that the epoch is to
//! interrupt.
//!
//! ```text
//!            first Running                 last Running dropped, LINGER passed
//!   parked ----------------> ticking -------------------------------------> parked
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::turns::Turns;

/// Time between two ticks: how late an interruption may be, and how long a guest runs before others
/// get a turn.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Ticks of all engines of this process so far, while guests ran. A guest's step is measured by it
/// at no cost.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// The ticks of this process so far.
pub(crate) fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Ticks for which the thread goes on after the last sandbox is gone, so that a steady trickle of
/// invocations does not wake it each time.
const LINGER_TICKS: u32 = 200;

/// Ticks the epoch of all registered engines while a sandbox runs.
pub(super) struct Ticker {
    turns: Arc<Turns>,
    engines: Mutex<Vec<wasmtime::Engine>>,
    running: AtomicUsize,
    parked: AtomicBool,
    stopped: AtomicBool,
    thread: Mutex<Option<Thread>>,
}

/// Keeps the epoch ticking until dropped.
pub struct Running(Arc<Ticker>);

impl Ticker {
    /// Starts the thread. Without it no limit on time would hold: that is an error, not a warning.
    pub(super) fn start(turns: Arc<Turns>) -> std::io::Result<Arc<Ticker>> {
        let ticker = Arc::new(Ticker {
            turns,
            engines: Mutex::new(Vec::new()),
            running: AtomicUsize::new(0),
            parked: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let weak = Arc::downgrade(&ticker);
        let spawned = thread::Builder::new().name("lacewing-epoch".into()).spawn(move || {
            let mut idle = 0;
            // The thread must not keep the host alive: it looks at the ticker only for the length
            // of a tick.
            while let Some(ticker) = weak.upgrade() {
                if ticker.stopped.load(Ordering::Relaxed) {
                    return;
                }
                idle = ticker.turn(idle);
                let parked = ticker.parked.load(Ordering::SeqCst);
                drop(ticker);
                if parked {
                    // A bounded park, so that the thread ends soon after the ticker is gone.
                    thread::park_timeout(Duration::from_secs(1));
                } else {
                    thread::sleep(TICK);
                }
            }
        });
        *ticker.thread.lock() = Some(spawned?.thread().clone());
        Ok(ticker)
    }

    pub(super) fn tick(&self, engine: wasmtime::Engine) {
        self.engines.lock().push(engine);
    }

    pub(super) fn running(self: &Arc<Ticker>) -> Running {
        if self.running.fetch_add(1, Ordering::SeqCst) == 0
            && self.parked.swap(false, Ordering::SeqCst)
            && let Some(thread) = &*self.thread.lock()
        {
            thread.unpark();
        }
        Running(self.clone())
    }

    /// One turn of the thread; returns for how many turns nothing has run.
    fn turn(&self, idle: u32) -> u32 {
        if self.running.load(Ordering::SeqCst) > 0 {
            self.parked.store(false, Ordering::SeqCst);
            for engine in self.engines.lock().iter() {
                engine.increment_epoch();
            }
            TICKS.fetch_add(1, Ordering::Relaxed);
            self.turns.refill(Instant::now());
            return 0;
        }
        if idle >= LINGER_TICKS {
            self.parked.store(true, Ordering::SeqCst);
            // Somebody may have come between the look and the store, seen `parked` false and not
            // woken us.
            if self.running.load(Ordering::SeqCst) > 0 {
                self.parked.store(false, Ordering::SeqCst);
            }
        }
        idle.saturating_add(1)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.get_mut().take() {
            thread.unpark();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch_moves(engine: &wasmtime::Engine) -> bool {
        // A store with a deadline of one tick is interrupted if, and only if, the epoch advances.
        let module = wasmtime::Module::new(
            engine,
            wat::parse_str("(module (func (export \"f\") (loop (br 0))))").unwrap(),
        )
        .unwrap();
        let mut store = wasmtime::Store::new(engine, ());
        store.set_epoch_deadline(1);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let spin = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
        let error = spin.call(&mut store, ()).unwrap_err();
        error.downcast_ref::<wasmtime::Trap>() == Some(&wasmtime::Trap::Interrupt)
    }

    #[test]
    fn ticks_while_running_and_again_after_parking() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = wasmtime::Engine::new(&config).unwrap();
        let ticker = Ticker::start(Turns::new()).unwrap();
        ticker.tick(engine.clone());
        let running = ticker.running();
        assert!(epoch_moves(&engine));
        drop(running);
        while !ticker.parked.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        let _running = ticker.running();
        assert!(epoch_moves(&engine));
    }
}

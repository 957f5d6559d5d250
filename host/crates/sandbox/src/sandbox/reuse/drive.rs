//! The task of one instance: it runs the guest for the invocations with a seat, and ends with the
//! instance.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, Stream};
use lacewing_base::outcome::Outcome;
use lacewing_telemetry::GuestLog;
use tokio::time::{Sleep, sleep, timeout};
use wasmtime::{
    AsContextMut, Store,
    component::{Accessor, Instance as MadeSandbox},
};
use wasmtime_wasi_http::{p2::bindings::Proxy, p3::bindings::Service};

use super::{BRISK, Call, Done, Ended, IDLE, Instance, Kept, Offer};

use crate::sandbox::{
    Fault,
    budget::{self, StopReason},
    eager::eagerly,
    fault,
    lean::not_exported,
    portable::{GuestAnswer, exchange_02, exchange_03, incoming},
    program::Program,
    state::State,
};

/// How long what an instance has served may take to be read out of it when it has failed.
const SETTLING: Duration = Duration::from_secs(1);

/// An instance has no deadline: its invocations have.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Runs an instance to its end.
pub(super) async fn drive(
    instance: Arc<Instance>,
    mut store: Store<State>,
    made: MadeSandbox,
    program: Arc<Program>,
    kept: Kept,
) {
    let end = End(&instance);
    let ended = {
        let run = run(&instance, &mut store, &made, &program);
        let run = pin!(budget::limited(&instance.cpu, Instant::now() + NEVER, run));
        InstanceWatch { instance: &instance, run, timer: Box::pin(sleep(IDLE)) }.await
    };
    instance.peak_bytes.store(store.data().peak_bytes(), Relaxed);
    let failed = match ended {
        None | Some(Ok(Ok(()))) => None,
        Some(Ok(Err(error))) => {
            let well = fault::is_clean_exit(&error);
            Some(Ended { fault: fault::classify(&error, store.data()), well })
        }
        Some(Err(stop)) => {
            let fault = fault::stopped(stop, store.data().limiter.refused());
            Some(Ended { fault, well: false })
        }
    };
    if let Some(failed) = failed {
        instance.retire();
        instance.fail(failed);
        instance.inbox().take();
        // The output of their guests is taken out while the store is there.
        let _ = timeout(SETTLING, instance.left()).await;
    }
    drop(end);
    drop(store);
    drop(kept);
}

/// Tells those that are still there, should the task end without having done so.
struct End<'a>(&'a Instance);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.retire();
        let fault = Fault::new(Outcome::Internal, "the instance ended for no known reason");
        let _ = self.0.ended.set(Ended { fault, well: false });
        self.0.inbox().take();
    }
}

async fn run(
    instance: &Instance,
    store: &mut Store<State>,
    made: &MadeSandbox,
    program: &Program,
) -> wasmtime::Result<()> {
    if program.wasi_03.is_some() {
        let service = Service::new(&mut *store, made)?;
        let run = store.run_concurrent(async |accessor| run_03(instance, accessor, &service).await);
        return eagerly(run).await?;
    }
    if program.wasi_02.is_some() {
        let proxy = Proxy::new(&mut *store, made)?;
        return run_02(instance, store, &proxy).await;
    }
    Err(wasmtime::Error::msg(not_exported("wasi:http").detail))
}

/// One call after the other: a call of wasi:http 0.2 has the store for itself.
async fn run_02(
    instance: &Instance,
    store: &mut Store<State>,
    proxy: &Proxy,
) -> wasmtime::Result<()> {
    while let Some(call) = poll_fn(|cx| instance.poll_call(cx)).await {
        let Call { request, respond, log, propagation, noted, done } = call;
        store.data_mut().begin(&log, propagation);
        instance.refuel(&mut *store)?;
        let start = instance.begin(&noted);
        let answer = exchange_02(store, proxy, incoming(request), respond, &noted.sent).await?;
        instance.note_answer(&answer, &log);
        let cpu = instance.end(start);
        let fuel = instance.fuel_spent(&mut *store);
        instance.peak_bytes.store(store.data().peak_bytes(), Relaxed);
        store.data_mut().leave(&log);
        let _ = done.send(Done { result: answer.result(), cpu, fuel });
    }
    Ok(())
}

async fn run_03(
    instance: &Instance,
    accessor: &Accessor<State>,
    service: &Service,
) -> wasmtime::Result<()> {
    let function = *service.wasi_http_handler().func_handle().func();
    let mut calls = pin!(FuturesUnordered::new());
    poll_fn(|cx| {
        instance.turn();
        loop {
            if let Poll::Ready(Some(ended)) = calls.as_mut().poll_next(cx) {
                match ended {
                    Ok(()) => continue,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            match instance.poll_call(cx) {
                Poll::Ready(Some(call)) => calls.push(serve_03(instance, accessor, service, call)),
                Poll::Ready(None) if calls.is_empty() => {
                    // The guest may finish its work after its last response.
                    ready!(accessor.poll_no_interesting_tasks(cx));
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(None) | Poll::Pending => {
                    let ready = accessor.poll_ready_for_concurrent_call(function, cx).is_ready();
                    instance.ready.store(ready, Relaxed);
                    return Poll::Pending;
                }
            }
        }
    })
    .await
}

async fn serve_03(
    instance: &Instance,
    accessor: &Accessor<State>,
    service: &Service,
    call: Call,
) -> wasmtime::Result<()> {
    let Call { request, respond, log, propagation, noted, done } = call;
    accessor.with(|mut access| {
        access.get().begin(&log, propagation);
        instance.refuel(access.as_context_mut())
    })?;
    let start = instance.begin(&noted);
    let answer = exchange_03(accessor, service, incoming(request), respond, &noted.sent).await?;
    instance.note_answer(&answer, &log);
    let cpu = instance.end(start);
    let fuel = accessor.with(|mut access| {
        instance.peak_bytes.store(access.get().peak_bytes(), Relaxed);
        access.get().leave(&log);
        instance.fuel_spent(access.as_context_mut())
    });
    let _ = done.send(Done { result: answer.result(), cpu, fuel });
    Ok(())
}

impl Instance {
    /// The next call, or `None` where there will be none.
    fn poll_call(&self, cx: &mut Context<'_>) -> Poll<Option<Call>> {
        self.waker.register(cx.waker());
        if let Some(call) = self.inbox().as_mut().and_then(VecDeque::pop_front) {
            return Poll::Ready(Some(call));
        }
        let load = self.load();
        if load.offer == Offer::Retired && load.seats == 0 {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    /// Resolves when no invocation has a seat any more.
    async fn left(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            if self.load().seats == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn begin(&self, noted: &super::Noted) -> Duration {
        self.open.fetch_add(1, Relaxed);
        let start = self.meter().begin(budget::spent_at_tick());
        let start_ns = u64::try_from(start.as_nanos()).unwrap_or(super::NOT_STARTED - 1);
        noted.start_ns.store(start_ns, Relaxed);
        start
    }

    fn end(&self, start: Duration) -> Duration {
        self.open.fetch_sub(1, Relaxed);
        let cpu = self.meter().end(start, budget::spent_at_tick());
        self.brisk.store(cpu < BRISK, Relaxed);
        cpu
    }

    /// Retires an instance that does not answer: what is wrong with its guest stays wrong.
    fn note_answer(&self, answer: &GuestAnswer, log: &GuestLog) {
        let answered = match answer {
            GuestAnswer::Sent | GuestAnswer::Error(_) => true,
            GuestAnswer::Nothing => false,
        };
        if !answered {
            self.retire();
        }
        if self.answered.fetch_or(answered, Relaxed)
            && let Some(pool) = self.pool.upgrade()
        {
            pool.note_again(answered, log);
        }
    }

    fn turn(&self) {
        self.meter().turn(budget::spent_at_tick());
    }

    /// Fuel is counted for one at a time.
    fn refuel(&self, mut store: impl AsContextMut<Data = State>) -> wasmtime::Result<()> {
        self.spec.limits.fuel.map_or(Ok(()), |fuel| store.as_context_mut().set_fuel(fuel))
    }

    fn fuel_spent(&self, store: impl AsContextMut<Data = State>) -> Option<u64> {
        let limit = self.spec.limits.fuel?;
        Some(limit.saturating_sub(store.as_context().get_fuel().unwrap_or(0)))
    }

    /// Says to all that it serves how it ended.
    fn fail(&self, mut ended: Ended) {
        let others = self.open.load(Relaxed).saturating_sub(1);
        if others > 0 {
            let invocations = if others == 1 { "invocation" } else { "invocations" };
            let detail = format!(
                "the instance that it shared with {others} other {invocations} (`reuse`) ended: {}",
                ended.fault.detail
            );
            ended.fault = Fault::new(ended.fault.outcome, detail);
        }
        let _ = self.ended.set(ended);
    }
}

/// Polls an instance, offers it when it has come to rest, and ends it when it is to end. `None` if
/// it was ended.
struct InstanceWatch<'a, F> {
    instance: &'a Arc<Instance>,
    run: Pin<&'a mut F>,
    timer: Pin<Box<Sleep>>,
}

impl<F: Future<Output = Result<wasmtime::Result<()>, StopReason>>> Future for InstanceWatch<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let instance = self.instance;
        loop {
            instance.interrupted.store(false, Relaxed);
            // The epoch ticks while the guest runs, and not while the instance is idle.
            let running = instance.engines.running();
            let poll = self.run.as_mut().poll(cx);
            drop(running);
            if let Poll::Ready(ended) = poll {
                return Poll::Ready(Some(ended));
            }
            instance.offer();
            if self.timer.as_mut().poll(cx).is_pending() {
                return if instance.is_undone() { Poll::Ready(None) } else { Poll::Pending };
            }
            let Some(after) = instance.look_at_clock() else { return Poll::Ready(None) };
            self.timer.as_mut().reset(tokio::time::Instant::now() + after);
        }
    }
}

impl Instance {
    /// Whether only guest code of invocations that have left remains.
    fn is_undone(&self) -> bool {
        let load = self.load();
        load.seats == 0 && load.undone
    }

    /// Retires it where it was idle for long enough. Returns when to look again, or `None` if it is
    /// to go whatever its guest does.
    fn look_at_clock(&self) -> Option<Duration> {
        let (seats, retired, left) = {
            let load = self.load();
            (load.seats, load.offer == Offer::Retired, load.left)
        };
        let idle = left.map_or(Duration::ZERO, |left| left.elapsed());
        if seats > 0 {
            return Some(IDLE);
        }
        if retired {
            let rest = self.spec.limits.deadline.checked_sub(idle)?;
            return Some(rest.max(Duration::from_millis(1)));
        }
        match IDLE.checked_sub(idle) {
            Some(rest) if !rest.is_zero() => Some(rest),
            _ => {
                self.retire();
                self.waker.wake();
                Some(self.spec.limits.deadline)
            }
        }
    }
}

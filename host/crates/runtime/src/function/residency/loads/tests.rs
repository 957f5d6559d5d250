//! Turns to load a program, between tenants.

use std::sync::mpsc;

use lacewing_base::fair::Weight;

use super::*;

/// Loads that each say that they run, and then wait for leave to end.
struct Gate {
    begun: mpsc::Sender<usize>,
    seen: mpsc::Receiver<usize>,
}

impl Gate {
    fn new() -> Gate {
        let (begun, seen) = mpsc::channel();
        Gate { begun, seen }
    }

    /// Gives what ends it.
    fn start(&self, loads: &Arc<ProgramLoads>, share: &Arc<Flow>, name: usize) -> mpsc::Sender<()> {
        let (end, ended) = mpsc::channel::<()>();
        let begun = self.begun.clone();
        loads.start(share, move || {
            begun.send(name).unwrap();
            // A dropped sender ends it as well.
            let _ = ended.recv();
        });
        end
    }

    fn next(&self) -> usize {
        self.seen.recv().unwrap()
    }
}

#[tokio::test]
async fn a_single_load_waits_for_no_more_than_one_of_hundreds() {
    let (loads, gate) = (ProgramLoads::new(2, 2), Gate::new());
    let (greedy, modest) = (Flow::new(&Weight::new(1)), Flow::new(&Weight::new(1)));
    let mut ends: Vec<_> = (0..300).map(|n| gate.start(&loads, &greedy, n)).collect();
    assert_eq!([gate.next(), gate.next()].iter().sum::<usize>(), 1, "the first two run");
    let last = gate.start(&loads, &modest, 1000);
    assert_eq!(loads.state().waiting.len(), 299);
    drop(ends.remove(0));
    assert_eq!(gate.next(), 1000, "it is next");
    drop((ends, last));
    let mut rest: Vec<usize> = (0..298).map(|_| gate.next()).collect();
    rest.sort_unstable();
    assert!(rest.into_iter().eq(2..300), "all of them are loaded");
}

#[tokio::test]
async fn no_tenant_has_all_places() {
    let (loads, gate) = (ProgramLoads::new(4, 2), Gate::new());
    let (greedy, modest) = (Flow::new(&Weight::new(1)), Flow::new(&Weight::new(1)));
    let ends: Vec<_> = (0..10).map(|n| gate.start(&loads, &greedy, n)).collect();
    assert!(gate.next() < 2 && gate.next() < 2);
    assert_eq!(loads.state().running, 2);
    let end = gate.start(&loads, &modest, 1000);
    assert_eq!(gate.next(), 1000, "it waits for nothing");
    drop((ends, end));
    let rest: Vec<usize> = (0..8).map(|_| gate.next()).collect();
    assert!(rest.iter().all(|n| (2..10).contains(n)), "{rest:?}");
}

#[tokio::test]
async fn a_load_that_panics_gives_its_place_back() {
    let (loads, gate) = (ProgramLoads::new(1, 1), Gate::new());
    let share = Flow::new(&Weight::new(1));
    loads.start(&share, || panic!("as a bug would"));
    drop(gate.start(&loads, &share, 7));
    assert_eq!(gate.next(), 7);
}

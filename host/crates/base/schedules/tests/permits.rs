//! Permits under a scheduler that chooses the order of all threads' steps: no permit is lost, no
//! waiter is forgotten.

use lacewing_base_schedules::{
    budget::{Budget, Share},
    fair::{Flow, Weight},
    permits::{Resource, Waiters, acquire, try_acquire},
};
use shuttle::{future, sync::Arc, thread};

/// Slots that two tenants share, as the host's do.
struct Slots {
    budget: Arc<Budget>,
    waiters: Waiters<Slots>,
}

#[derive(Debug)]
struct Tenant {
    share: Arc<Share>,
    flow: Arc<Flow>,
}

impl Resource for Slots {
    type Demand = Arc<Tenant>;

    fn waiters(&self) -> &Waiters<Slots> {
        &self.waiters
    }

    fn take(&self, tenant: &Arc<Tenant>) -> bool {
        tenant.share.take(1).is_ok()
    }

    fn give_back(&self, tenant: &Arc<Tenant>) {
        tenant.share.give_back(1);
    }
}

fn slots(count: u64) -> (Arc<Slots>, [Arc<Tenant>; 2]) {
    let budget = Budget::new(count);
    let tenants = [1, 2].map(|weight| {
        let weight = Weight::new(weight);
        Arc::new(Tenant { share: budget.share(&weight), flow: Flow::new(&weight) })
    });
    (Arc::new(Slots { budget, waiters: Waiters::default() }), tenants)
}

/// Each thread acquires, and lets go of, a permit, whatever the others do. Shuttle fails the test
/// if a thread waits for ever.
#[test]
fn each_waiter_gets_a_permit_and_each_permit_comes_back() {
    shuttle::check_random(
        || {
            let (slots, tenants) = slots(1);
            let threads: Vec<_> = (0..4)
                .map(|index| {
                    let (slots, tenant) = (slots.clone(), tenants[index % 2].clone());
                    thread::spawn(move || {
                        let permit = match try_acquire(&slots, tenant.clone()) {
                            Some(permit) => permit,
                            None => future::block_on(acquire(&slots, &tenant.flow, tenant.clone())),
                        };
                        assert_eq!(slots.budget.used(), 1);
                        drop(permit);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!((slots.budget.used(), slots.waiters.len()), (0, 0));
        },
        3_000,
    );
}

/// A waiter that leaves takes no permit along: not one that it was granted at that very moment, and
/// not its place.
#[test]
fn a_waiter_that_leaves_forgets_no_other() {
    shuttle::check_random(
        || {
            let (slots, [one, other]) = slots(1);
            let permit = try_acquire(&slots, one.clone()).unwrap();
            let leaves = thread::spawn({
                let (slots, one) = (slots.clone(), one.clone());
                move || drop(acquire(&slots, &one.flow, one.clone()))
            });
            let stays = thread::spawn({
                let (slots, other) = (slots.clone(), other.clone());
                move || drop(future::block_on(acquire(&slots, &other.flow, other.clone())))
            });
            drop(permit);
            leaves.join().unwrap();
            stays.join().unwrap();
            assert_eq!((slots.budget.used(), slots.waiters.len()), (0, 0));
        },
        3_000,
    );
}

/// A budget is never held by more than it has, by any order of steps.
#[test]
fn a_budget_is_never_overdrawn() {
    shuttle::check_random(
        || {
            let (slots, tenants) = slots(3);
            let threads: Vec<_> = (0..3)
                .map(|index| {
                    let (slots, tenant) = (slots.clone(), tenants[index % 2].clone());
                    thread::spawn(move || {
                        let mut lease = tenant.share.lease();
                        if lease.grow(2).is_ok() {
                            assert!(slots.budget.used() <= 3);
                            lease.shrink_to(1);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(slots.budget.used(), 0);
        },
        3_000,
    );
}

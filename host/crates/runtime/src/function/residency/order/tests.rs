//! The choice of the program that goes.

use std::{cell::RefCell, rc::Rc};

use lacewing_base::fair::Weight;
use proptest::{collection::vec, prelude::*};

use super::*;

/// A function, as far as residency knows it.
#[derive(Clone)]
struct Function {
    bytes: u64,
    /// When it was used, and by which load it came; nothing while it is not resident.
    resident: Rc<RefCell<Option<(u64, u64)>>>,
    /// The load that this entry is of.
    loaded: u64,
}

impl Entry for Function {
    fn used(&self) -> Option<u64> {
        self.resident.borrow().filter(|(_, load)| *load == self.loaded).map(|(used, _)| used)
    }

    fn loaded(&self) -> u64 {
        self.loaded
    }
}

/// Tenants with functions of these sizes, and what is resident of them.
struct Model {
    options: ResidencyOptions,
    order: Order<Function>,
    tenants: Vec<(Arc<ResidencyShare>, Vec<Function>)>,
    now: u64,
    loads: u64,
    /// How often each tenant's programs went.
    evicted: Vec<u64>,
}

impl Model {
    fn new(options: ResidencyOptions, tenants: &[(u32, &[u64])]) -> Model {
        let function = |bytes: &u64| Function { bytes: *bytes, resident: Rc::default(), loaded: 0 };
        let of = |(weight, sizes): &(u32, &[u64])| {
            (ResidencyShare::new(&Weight::new(*weight)), sizes.iter().map(function).collect())
        };
        let evicted = vec![0; tenants.len()];
        let tenants = tenants.iter().map(of).collect();
        Model { options, order: Order::default(), tenants, now: 0, loads: 0, evicted }
    }

    /// Asks for a function. Gives whether it had to be loaded.
    fn ask(&mut self, tenant: usize, function: usize) -> bool {
        self.now += 1;
        let (share, functions) = &self.tenants[tenant];
        let mut entry = functions[function].clone();
        if let Some((used, _)) = &mut *entry.resident.borrow_mut() {
            *used = self.now;
            return false;
        }
        self.loads += 1;
        entry.loaded = self.loads;
        *entry.resident.borrow_mut() = Some((self.now, self.loads));
        share.enter(entry.bytes);
        self.order.add(share, entry);
        while let Some(victim) = self.order.victim(&self.options, self.loads) {
            assert!(victim.resident.borrow_mut().take().is_some(), "it goes once");
            let is_its = |(_, functions): &(_, Vec<Function>)| {
                functions.iter().any(|one| Rc::ptr_eq(&one.resident, &victim.resident))
            };
            let owner = self.tenants.iter().position(is_its).unwrap();
            self.tenants[owner].0.leave(victim.bytes);
            self.evicted[owner] += 1;
        }
        true
    }

    fn resident(&self) -> (u64, u64) {
        let shares = || self.tenants.iter().map(|(share, _)| share);
        (shares().map(|one| one.functions()).sum(), shares().map(|one| one.bytes()).sum())
    }
}

fn options(functions: u32, memory_bytes: u64) -> ResidencyOptions {
    ResidencyOptions { functions, memory_bytes }
}

#[test]
fn a_tenant_that_is_alone_has_all_and_the_one_used_longest_ago_goes() {
    let mut model = Model::new(options(20, 1000), &[(1, &[1; 60])]);
    for function in (0..20).chain([0]) {
        model.ask(0, function);
    }
    assert_eq!((model.resident(), model.evicted[0]), ((20, 20), 0));
    model.ask(0, 20);
    assert!(!model.ask(0, 0), "it was used");
    assert!(model.ask(0, 1), "it was used longest ago");
}

#[test]
fn a_tenant_that_asks_all_of_its_functions_in_turn_evicts_its_own_only() {
    let mut model = Model::new(options(20, 1000), &[(1, &[1; 60]), (1, &[1; 5])]);
    let loads: usize = (0..3000)
        .map(|turn| {
            model.ask(0, turn % 60);
            usize::from(model.ask(1, turn / 600))
        })
        .sum();
    assert_eq!((loads, model.evicted[1]), (5, 0));
    assert_eq!(model.resident(), (20, 20));
}

#[test]
fn a_newcomer_gets_its_part_from_a_tenant_that_had_all() {
    let mut model = Model::new(options(20, 1000), &[(1, &[1; 60]), (3, &[1; 60])]);
    for tenant in [0, 1] {
        assert!((0..60).all(|function| model.ask(tenant, function)), "none was asked for before");
    }
    let functions: Vec<u64> = model.tenants.iter().map(|(share, _)| share.functions()).collect();
    assert_eq!(functions, [5, 15]);
}

#[test]
fn bytes_are_shared_as_functions_are() {
    let (large, small) = ([100; 20], [10; 5]);
    let mut model = Model::new(options(1000, 1000), &[(1, &large), (1, &small)]);
    for turn in 0..200 {
        model.ask(0, turn % 20);
        model.ask(1, turn % 5);
    }
    assert_eq!((model.evicted[1], model.tenants[1].0.functions()), (0, 5));
    assert!(model.resident().1 <= 1000);
}

#[test]
fn a_program_larger_than_all_is_kept_only_where_its_tenant_is_alone() {
    let mut model = Model::new(options(10, 1000), &[(1, &[2000, 1]), (1, &[1])]);
    assert!(model.ask(0, 0) && !model.ask(0, 0));
    assert!(model.ask(1, 0));
    assert_eq!(model.resident(), (1, 1), "the neighbour's is within its part");
    assert!(model.ask(0, 0) && model.ask(0, 0), "it is loaded for each time that it is asked for");
    assert!(!model.ask(1, 0));
}

#[test]
fn entries_of_removed_programs_do_not_pile_up() {
    let mut model = Model::new(options(10, 1000), &[(1, &[1; 2]), (1, &[1])]);
    for _ in 0..1000 {
        model.ask(0, 0);
        // A deploy takes it out of memory without an eviction.
        let (share, functions) = &model.tenants[0];
        assert!(functions[0].resident.borrow_mut().take().is_some());
        share.leave(1);
    }
    model.ask(1, 0);
    model.ask(0, 1);
    let entries: usize = model.order.tenants.iter().map(|tenant| tenant.entries.len()).sum();
    assert!(entries <= 2 * FEW + 4, "{entries}");
}

/// Weights, sizes of functions, and uses, of up to five tenants.
type Case = (u32, Vec<(u32, Vec<u64>)>, Vec<(usize, usize)>);

fn case() -> impl Strategy<Value = Case> {
    let tenant = (1_u32..8, vec(1_u64..50, 1..30));
    (1_u32..40, vec(tenant, 1..6), vec((0_usize..5, 0_usize..30), 1..600))
}

proptest! {
    /// A tenant whose functions are no more, in number and in bytes, than its part by weight loads
    /// each once, for any uses of the other tenants. Neither bound is exceeded.
    #[test]
    fn a_tenant_within_its_part_is_never_evicted(
        (most, tenants, uses) in case(),
    ) {
        let memory = 400;
        let weights: u64 = tenants.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let fits = |(weight, sizes): &(u32, Vec<u64>)| {
            let weight = u64::from(*weight);
            sizes.len() as u64 * weights <= u64::from(most) * weight
                && sizes.iter().sum::<u64>() * weights <= memory * weight
        };
        let modest: Vec<bool> = tenants.iter().map(fits).collect();
        let slices: Vec<(u32, &[u64])> =
            tenants.iter().map(|(weight, sizes)| (*weight, &sizes[..])).collect();
        let mut model = Model::new(options(most, memory), &slices);
        for (tenant, function) in uses {
            let tenant = tenant % tenants.len();
            model.ask(tenant, function % tenants[tenant].1.len());
            let (functions, bytes) = model.resident();
            prop_assert!(functions <= most.into() && bytes <= memory, "{functions} {bytes}");
        }
        for (tenant, modest) in modest.into_iter().enumerate() {
            prop_assert!(!modest || model.evicted[tenant] == 0, "{tenant} of {tenants:?}");
        }
    }

    /// One tenant alone: the order is that of the last use, but for those that are put in order
    /// together.
    #[test]
    fn the_program_that_was_used_last_stays(most in 2_u32..20, uses in vec(0_usize..40, 1..300)) {
        let mut model = Model::new(options(most, 10_000), &[(1, &[1; 40])]);
        for function in uses {
            model.ask(0, function);
            prop_assert!(!model.ask(0, function), "it was just asked for");
        }
    }
}

//! Fair queues: waiting entries are grouped in *flows*, and flows are served in proportion to their
//! weights, whatever the number of entries in each.
//!
//! Start-time fair queueing (Goyal, Vin, Cheng: "Start-time Fair Queueing", SIGCOMM 1996) with
//! costs that are known only afterwards, as in stride scheduling: a flow's *tag* is what it was
//! given so far, divided by its weight; the flow with the lowest tag is served next, and its tag
//! goes up by the cost of that service. A flow that had nothing waiting begins at the tag of the
//! flow that was served last, so that no flow saves up for later.
//!
//! ```text
//!   tags:     A 17 |a1 a2 a3      next: the first of B that is let in; of one flow, the entry that came first
//!             B 12 |b1            now:  12, where a flow begins that had nothing waiting
//! ```

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap, VecDeque},
};

use crate::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

/// The addition of one unit of cost to the tag of a flow of weight 1: enough to tell weights up to
/// a thousand apart, and little enough that centuries of microseconds fit.
const SCALE: u64 = 1 << 10;

/// A tenant's part of each resource that there is not enough of, in proportion to the weights of
/// others. Clones share it, so that one change holds for all budgets and queues.
#[derive(Clone, Debug)]
pub struct Weight(Arc<AtomicU32>);

impl Weight {
    /// A weight of at least 1.
    pub fn new(weight: u32) -> Weight {
        Weight(Arc::new(AtomicU32::new(weight.max(1))))
    }

    /// The weight.
    #[inline]
    pub fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Changes the weight from now on.
    pub fn set(&self, weight: u32) {
        self.0.store(weight.max(1), Relaxed);
    }
}

/// The part that one holder has of something, in proportion to its weight. The holder of the
/// largest gives up first.
///
/// Where the holder of the largest portion gives up one whenever there are more than `all`, no
/// holder loses anything that has no more than `all` times its part of the weights: while all are
/// too many, some other portion is larger than that. That is the rule of longest queue drop (Suter,
/// Lakshman, Stiliadis, Choudhury: "Design Considerations for Supporting TCP with
/// Per-flow Queueing", INFOCOM 1998), with weights.
#[derive(Clone, Copy, Debug)]
pub struct Portion {
    /// The amount that it holds.
    pub held: u64,
    /// Its weight, at least 1.
    pub weight: u32,
}

impl Ord for Portion {
    fn cmp(&self, other: &Portion) -> Ordering {
        // A quotient would be rounded.
        let mine = u128::from(self.held) * u128::from(other.weight);
        mine.cmp(&(u128::from(other.held) * u128::from(self.weight)))
    }
}

impl PartialOrd for Portion {
    fn partial_cmp(&self, other: &Portion) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Portion {
    fn eq(&self, other: &Portion) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Portion {}

/// One tenant's flow of entries in one queue. Only that queue changes the tag.
#[derive(Debug)]
pub struct Flow {
    id: u64,
    weight: Weight,
    tag: AtomicU64,
}

impl Flow {
    /// A flow of which nothing was served yet.
    pub fn new(weight: &Weight) -> Arc<Flow> {
        // Ids are no part of any protocol between threads.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let (id, weight) =
            (NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed), weight.clone());
        Arc::new(Flow { id, weight, tag: AtomicU64::new(0) })
    }

    /// A number that no other flow of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The weight of the flow's tenant.
    pub fn weight(&self) -> u32 {
        self.weight.get()
    }

    fn tag(&self) -> u64 {
        self.tag.load(Relaxed)
    }
}

/// The waiting entries, in flows.
#[derive(Debug)]
pub struct FairQueue<T> {
    flows: HashMap<u64, Backlog<T>>,
    /// The flows by their tags.
    order: BTreeSet<(u64, u64)>,
    /// The highest tag at which one was served.
    now: u64,
    next: u64,
    len: usize,
}

/// The waiting entries of one flow, in the order of their arrival. Never empty while the flow is in
/// the queue.
#[derive(Debug)]
struct Backlog<T> {
    flow: Arc<Flow>,
    waiting: ArrivalLine<T>,
}

/// The place of an entry in a [`FairQueue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    flow: u64,
    number: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> FairQueue<T> {
        FairQueue { flows: HashMap::new(), order: BTreeSet::new(), now: 0, next: 0, len: 0 }
    }
}

impl<T> FairQueue<T> {
    /// The number of waiting entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no entry waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds something at the end of its flow.
    pub fn push(&mut self, flow: &Arc<Flow>, item: T) -> Ticket {
        let number = self.next;
        self.next += 1;
        self.len += 1;
        let backlog = self.flows.entry(flow.id).or_insert_with(|| {
            flow.tag.fetch_max(self.now, Relaxed);
            self.order.insert((flow.tag(), flow.id));
            Backlog { flow: flow.clone(), waiting: ArrivalLine::default() }
        });
        backlog.waiting.push(number, item);
        Ticket { flow: flow.id, number }
    }

    /// Takes something out that is not to be served any more; nothing if it is not there.
    pub fn remove(&mut self, ticket: Ticket) -> Option<T> {
        let backlog = self.flows.get_mut(&ticket.flow)?;
        let item = backlog.waiting.remove(ticket.number)?;
        self.len -= 1;
        self.leave_if_empty(ticket.flow);
        Some(item)
    }

    /// Takes out the next entry: of the flows in the order of their tags, the first one whose first
    /// entry `may` be served.
    pub fn next(&mut self, mut may: impl FnMut(&T) -> bool) -> Option<(Arc<Flow>, T)> {
        let mut first_may = |id: u64| self.flows[&id].waiting.first().is_some_and(&mut may);
        let (tag, id) = self.order.iter().copied().find(|(_, id)| first_may(*id))?;
        let backlog = self.flows.get_mut(&id)?;
        let (flow, item) = (backlog.flow.clone(), backlog.waiting.pop()?);
        self.len -= 1;
        self.now = self.now.max(tag);
        self.leave_if_empty(id);
        Some((flow, item))
    }

    /// Notes that a flow was served without a wait: as if an entry had waited, and been served at
    /// once.
    pub fn pass(&mut self, flow: &Flow) {
        if !self.flows.contains_key(&flow.id) {
            flow.tag.fetch_max(self.now, Relaxed);
        }
        self.now = self.now.max(flow.tag());
    }

    /// Charges a flow for its last service.
    pub fn charge(&mut self, flow: &Flow, cost: u64) {
        let before = flow.tag();
        let after = before.saturating_add(cost.saturating_mul(SCALE) / u64::from(flow.weight()));
        flow.tag.store(after, Relaxed);
        if self.order.remove(&(before, flow.id)) {
            self.order.insert((after, flow.id));
        }
    }

    fn leave_if_empty(&mut self, id: u64) {
        if let Some(backlog) = self.flows.get(&id)
            && backlog.waiting.is_empty()
        {
            self.order.remove(&(backlog.flow.tag(), id));
            self.flows.remove(&id);
        }
    }
}

/// Entries in the order of their arrival, each with a number that is higher than the one before.
#[derive(Debug)]
struct ArrivalLine<T>(VecDeque<(u64, T)>);

impl<T> Default for ArrivalLine<T> {
    fn default() -> ArrivalLine<T> {
        ArrivalLine(VecDeque::new())
    }
}

impl<T> ArrivalLine<T> {
    /// Adds something at the end.
    fn push(&mut self, number: u64, item: T) {
        self.0.push_back((number, item));
    }

    /// The entry that has waited longest.
    fn first(&self) -> Option<&T> {
        self.0.front().map(|(_, item)| item)
    }

    /// Takes out the entry that has waited longest.
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front().map(|(_, item)| item)
    }

    /// Takes something out by its number.
    fn remove(&mut self, number: u64) -> Option<T> {
        let at = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.0.remove(at).map(|(_, item)| item)
    }

    /// Whether no entry waits.
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn flow(weight: u32) -> Arc<Flow> {
        Flow::new(&Weight::new(weight))
    }

    fn all<T>(_: &T) -> bool {
        true
    }

    #[test]
    fn entries_of_one_flow_are_served_in_order_of_arrival() {
        let (mut queue, share) = (FairQueue::default(), flow(1));
        let tickets: Vec<_> = (0..4).map(|n| queue.push(&share, n)).collect();
        assert_eq!(queue.remove(tickets[1]), Some(1));
        assert_eq!(queue.remove(tickets[1]), None);
        let served: Vec<_> = std::iter::from_fn(|| queue.next(all).map(|(_, n)| n)).collect();
        assert_eq!(served, [0, 2, 3]);
        assert!(queue.is_empty() && queue.flows.is_empty() && queue.order.is_empty());
    }

    #[test]
    fn an_ineligible_entry_does_not_hold_up_others() {
        let (mut queue, a, b) = (FairQueue::default(), flow(1), flow(1));
        queue.push(&a, 'a');
        queue.push(&b, 'b');
        assert_eq!(queue.next(|who| *who == 'b').map(|(_, who)| who), Some('b'));
        assert!(queue.next(|who| *who == 'b').is_none());
        assert_eq!(queue.next(all).map(|(_, who)| who), Some('a'));
    }

    #[test]
    fn portions_are_compared_by_weight_and_not_rounded() {
        let portion = |held, weight| Portion { held, weight };
        assert!(portion(10, 3) > portion(3, 1));
        assert_eq!(portion(6, 2), portion(3, 1));
        assert!(portion(u64::MAX, 1000) > portion(u64::MAX - 1, 1000));
        assert!(portion(0, 1) < portion(1, 1000));
    }

    #[test]
    fn an_idle_flow_saves_nothing_and_pays_nothing() {
        let (mut queue, busy, idle) = (FairQueue::default(), flow(1), flow(1));
        // One alone is served for long: partly without having to wait.
        for _ in 0..1000 {
            queue.pass(&busy);
            queue.charge(&busy, 10);
        }
        // Then two are there, and from here on each gets half.
        let mut served = [0_u32; 2];
        for _ in 0..100 {
            queue.push(&busy, 0);
            queue.push(&idle, 1);
            let (share, who) = queue.next(all).unwrap();
            queue.charge(&share, 10);
            served[who] += 1;
        }
        assert!(served[0].abs_diff(served[1]) <= 2, "{served:?}");
    }

    /// A step of a queue.
    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Remove(usize),
        Serve(u64),
    }

    fn step(flows: usize) -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..flows).prop_map(Step::Push),
            1 => any::<prop::sample::Index>().prop_map(|index| Step::Remove(index.index(1 << 16))),
            3 => (1_u64..100).prop_map(Step::Serve),
        ]
    }

    proptest! {
        /// Flows that always have somebody waiting get shares that stand as their weights do,
        /// whatever one serving costs.
        #[test]
        fn shares_converge_to_weights(
            weights in vec(1_u32..8, 2..6),
            backlogs in vec(1_usize..20, 6),
            costs in vec(1_u64..1000, 50),
        ) {
            let shares: Vec<_> = weights.iter().map(|weight| flow(*weight)).collect();
            let mut queue = FairQueue::default();
            for (flow, share) in shares.iter().enumerate() {
                for _ in 0..backlogs[flow] {
                    queue.push(share, flow);
                }
            }
            let mut given = vec![0_u64; weights.len()];
            for turn in 0..5000 {
                let cost = costs[turn % costs.len()];
                let (share, flow) = queue.next(all).unwrap();
                queue.charge(&share, cost);
                given[flow] += cost;
                queue.push(&share, flow);
            }
            // Two flows' normalised service never differs by more than one serving of each.
            let normal = |flow: usize| given[flow] / u64::from(weights[flow]);
            for one in 0..weights.len() {
                for other in 0..one {
                    prop_assert!(normal(one).abs_diff(normal(other)) <= 2 * 1000, "{given:?} {weights:?}");
                }
            }
        }

        /// No flow starves: an entry that waits is served before the others have had more than
        /// their share and one serving each.
        #[test]
        fn no_flow_starves(weights in vec(1_u32..100, 1..10), cost in 1_u64..1000) {
            let mut queue = FairQueue::default();
            let others: Vec<_> = weights.iter().map(|weight| flow(*weight)).collect();
            for share in &others {
                queue.push(share, false);
            }
            // The others have been at it for a while.
            for _ in 0..100 {
                let (share, _) = queue.next(all).unwrap();
                queue.charge(&share, cost);
                queue.push(&share, false);
            }
            queue.push(&flow(1), true);
            let most = weights.iter().sum::<u32>() as usize + 2 * weights.len();
            let mut turns = 0;
            while let Some((share, mine)) = queue.next(all) && !mine {
                queue.charge(&share, cost);
                queue.push(&share, false);
                turns += 1;
            }
            prop_assert!(turns <= most, "{turns} turns, at most {most}");
        }

        /// An entry that was pushed comes out once, by being served or by being removed; and the
        /// queue knows how many there are.
        #[test]
        fn nothing_is_lost(steps in vec(step(4), 1..200)) {
            let shares: Vec<_> = (1..5).map(flow).collect();
            let mut queue = FairQueue::default();
            let mut there: Vec<(Ticket, usize)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push(flow) => {
                        let ticket = queue.push(&shares[flow], number);
                        there.push((ticket, number));
                    }
                    Step::Remove(_) if there.is_empty() => {}
                    Step::Remove(index) => {
                        let (ticket, number) = there.remove(index % there.len());
                        prop_assert_eq!(queue.remove(ticket), Some(number));
                        prop_assert_eq!(queue.remove(ticket), None);
                    }
                    Step::Serve(cost) => match queue.next(all) {
                        Some((share, number)) => {
                            queue.charge(&share, cost);
                            let at = there.iter().position(|(_, one)| *one == number);
                            there.remove(at.unwrap());
                        }
                        None => prop_assert!(there.is_empty()),
                    },
                }
                prop_assert_eq!(queue.len(), there.len());
            }
            prop_assert_eq!(queue.order.len(), queue.flows.len());
        }

        /// An entry that leaves without having been served costs the others nothing: they are
        /// served as if it had never come.
        #[test]
        fn a_removed_entry_leaves_the_queue_intact(
            weights in vec(1_u32..8, 2..5),
            leavers in vec((0_usize..5, 0_usize..100), 0..30),
        ) {
            let run = |leavers: &[(usize, usize)]| {
                let shares: Vec<_> = weights.iter().map(|weight| flow(*weight)).collect();
                let mut queue = FairQueue::default();
                for (flow, share) in shares.iter().enumerate() {
                    queue.push(share, flow);
                }
                let mut order = Vec::new();
                for turn in 0..100 {
                    for (flow, _) in leavers.iter().filter(|(_, at)| *at == turn) {
                        let ticket = queue.push(&shares[flow % shares.len()], usize::MAX);
                        queue.remove(ticket);
                    }
                    let (share, flow) = queue.next(all).unwrap();
                    queue.charge(&share, 7);
                    queue.push(&share, flow);
                    order.push(flow);
                }
                order
            };
            prop_assert_eq!(run(&leavers), run(&[]));
        }
    }
}

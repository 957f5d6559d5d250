//! The open connections of a listener, and the choice of those that make room for others.
//!
//! Connections cost a client little. When all places are taken, or the heap that connections may hold is used up, some of them
//! are closed, those of the party that holds the most. So a party that opens many connections pays with
//! its own. A party within its fair share keeps its connections: the share that each would have if all held the same, and one more.
//!
//! - For a *place*, of those that wait for their client the one without progress for longest is closed first, but none that is so
//!   new that its client may just be sending.
//! - For *heap*, of those that hold at least the mean of their party, the connections that wait for their client are closed first,
//!   and of these the one with the most.
//!
//! - A *party* is a client's address before its first request has a route, and the address with the request's tenant after that.
//! - The longest queue pays: Suter, Lakshman, Stiliadis, Choudhury, "Design considerations for supporting TCP with per-flow
//!   queueing", INFOCOM 1998 (longest queue drop).
//! - Progress is seen from one look to the next, as pages are by the CLOCK algorithm: Corbató, "A paging experiment with the
//!   Multics system", 1968.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::connection::{Connection, Progress};

/// Of the open connections, the part that one look closes. A look costs as much as there are connections.
const CLOSED_PER_LOOK: usize = 64;

/// The time that a new connection has for its first request before it may have to make room: a round trip and more.
const TIME_TO_ASK: Duration = Duration::from_millis(100);

/// The open connections, oldest first.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    members: Mutex<BTreeMap<u64, Member>>,
}

#[derive(Debug)]
struct Member {
    connection: Arc<Connection>,
    opened: Instant,
    /// The progress at the last look.
    seen: Option<Progress>,
}

/// The clients of one tenant at one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Party {
    client: IpAddr,
    tenant: Option<u64>,
}

impl Party {
    /// `tenant` is a number of its own.
    pub(super) fn new(client: IpAddr, tenant: Option<u64>) -> Party {
        Party { client: network(client), tenant }
    }
}

/// The address, or the /64 that an IPv6 client has as many addresses of as it likes.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
    }
}

/// How much of the shared resource a connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    Places,
    HeapBytes,
}

impl Resource {
    fn held_by(self, connection: &Connection) -> u64 {
        match self {
            Resource::Places => 1,
            Resource::HeapBytes => connection.heap_bytes() as u64,
        }
    }

    /// Whether a connection that holds some may be closed for it.
    fn may_be_taken_from(self, member: &Member, now: Instant) -> bool {
        match self {
            Resource::Places => {
                let age = now.saturating_duration_since(member.opened);
                member.connection.waits_for_client() && age >= TIME_TO_ASK
            }
            // Those that work hold some for each request that they have made.
            Resource::HeapBytes => true,
        }
    }
}

impl Crowd {
    /// Adds a connection. Connections have growing numbers.
    pub(super) fn add(&self, number: u64, connection: Arc<Connection>) {
        let member = Member { connection, opened: Instant::now(), seen: None };
        self.members().insert(number, member);
    }

    /// Forgets a connection that is closed.
    pub(super) fn remove(&self, number: u64) {
        self.members().remove(&number);
    }

    /// Closes some connections of the party that holds the most of a resource. Returns how many.
    pub(super) fn make_room(&self, resource: Resource, now: Instant) -> usize {
        let mut members = self.members();
        let chosen = choose(&mut members, resource, now);
        for number in &chosen {
            // Its task removes it once more, and finds nothing.
            if let Some(member) = members.remove(number) {
                member.connection.close();
            }
        }
        chosen.len()
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A party's part of a resource.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    held: u64,
    connections: u64,
}

/// A connection that could be closed.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    party: Party,
    number: u64,
    waits: bool,
    progressed: bool,
    held: u64,
}

fn choose(members: &mut BTreeMap<u64, Member>, resource: Resource, now: Instant) -> Vec<u64> {
    let mut held: HashMap<Party, Share> = HashMap::new();
    let mut waiting = Vec::new();
    for (number, member) in &mut *members {
        let party = member.connection.party();
        let own = resource.held_by(&member.connection);
        let share = held.entry(party).or_default();
        (share.held, share.connections) = (share.held + own, share.connections + 1);
        let progress = member.connection.progress();
        let progressed = member.seen.replace(progress) != Some(progress);
        if resource.may_be_taken_from(member, now) {
            let waits = member.connection.waits_for_client();
            waiting.push(Candidate { party, number: *number, waits, progressed, held: own });
        }
    }
    let all = held.values().map(|share| share.held).sum::<u64>();
    // Of as many parties as there are, and of one more that wants some.
    let parties = held.len() as u64 + 1;
    let share_of = |party: &Party| held.get(party).copied().unwrap_or_default();
    waiting.retain(|candidate| share_of(&candidate.party).held.saturating_mul(parties) > all);
    // Of parties that hold the same, the one whose connection is the oldest without progress.
    let rank = |candidate: &&Candidate| (share_of(&candidate.party).held, !candidate.progressed);
    let most = waiting.iter().rev().max_by_key(rank);
    let Some(Candidate { party, .. }) = most.copied() else { return Vec::new() };
    // To close a connection that holds little makes little room.
    let mean = share_of(&party).held / share_of(&party).connections.max(1);
    waiting.retain(|candidate| candidate.party == party && candidate.held >= mean);
    // Stable, so that of those that are alike the oldest comes first.
    waiting.sort_by_key(|candidate| match resource {
        Resource::Places => (candidate.progressed, 0),
        Resource::HeapBytes => (!candidate.waits, u64::MAX - candidate.held),
    });
    // A party does not lose all at once what the next look might find another party to hold.
    let most = (members.len() / CLOSED_PER_LOOK).clamp(1, waiting.len().div_ceil(2).max(1));
    waiting.iter().take(most).map(|candidate| candidate.number).collect()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures_util::future::AbortHandle;

    use super::*;
    use crate::ingress::{body::BodyBudget, heap::HeapBudget, options::Options};

    struct Test {
        crowd: Crowd,
        now: Instant,
        connections: Vec<(Arc<Connection>, AbortHandle)>,
    }

    impl Test {
        fn new() -> Test {
            Test {
                crowd: Crowd::default(),
                now: Instant::now() + TIME_TO_ASK * 2,
                connections: Vec::new(),
            }
        }

        fn open(&mut self, client: &str, tenant: Option<u64>) -> Arc<Connection> {
            let peer = SocketAddr::new(client.parse().unwrap(), 1000);
            let (end, _) = AbortHandle::new_pair();
            let (bodies, heap) = (BodyBudget::new(&Options::default()), HeapBudget::new(1 << 30));
            let connection = Connection::new(peer, bodies, &heap, end.clone());
            if let Some(tenant) = tenant {
                connection.asks_for(tenant);
            }
            let number = self.connections.len() as u64;
            self.crowd.add(number, connection.clone());
            self.connections.push((connection.clone(), end));
            connection
        }

        fn make_room(&self, resource: Resource) -> usize {
            self.crowd.make_room(resource, self.now)
        }

        fn closed(&self) -> Vec<usize> {
            let all = self.connections.iter().enumerate();
            all.filter(|(_, (_, end))| end.is_aborted()).map(|(number, _)| number).collect()
        }
    }

    #[test]
    fn the_party_with_the_most_places_pays_with_its_oldest_idle_one() {
        let mut test = Test::new();
        test.open("192.0.2.1", None);
        for _ in 0..3 {
            test.open("192.0.2.2", Some(7));
        }
        test.open("192.0.2.2", Some(8));
        assert_eq!(test.make_room(Resource::Places), 1);
        assert_eq!(test.closed(), [1]);
        // Two against one of each other party: still the most.
        test.make_room(Resource::Places);
        assert_eq!(test.closed(), [1, 2]);
        assert_eq!(test.make_room(Resource::Places), 1, "all hold the same, and one more has none");
        assert_eq!(test.closed(), [0, 1, 2]);
    }

    #[test]
    fn a_party_within_its_share_does_not_pay_for_one_that_works() {
        let mut test = Test::new();
        let works: Vec<_> = (0..5).map(|_| test.open("192.0.2.1", Some(1)).begin()).collect();
        test.open("192.0.2.2", None);
        assert_eq!(test.make_room(Resource::Places), 0);
        drop(works);
        assert_eq!(test.make_room(Resource::Places), 1);
        assert_eq!(test.closed(), [0]);
    }

    #[test]
    fn a_connection_that_works_or_has_progressed_is_spared() {
        let mut test = Test::new();
        let (works, progresses) = (test.open("192.0.2.1", None), test.open("192.0.2.1", None));
        test.open("192.0.2.1", None);
        test.open("192.0.2.1", None);
        let in_flight = works.begin();
        test.make_room(Resource::Places);
        assert_eq!(test.closed(), [1], "none has been seen before");
        drop(progresses);
        drop(test.connections[2].0.begin());
        test.make_room(Resource::Places);
        assert_eq!(test.closed(), [1, 3]);
        test.make_room(Resource::Places);
        assert_eq!(test.closed(), [1, 2, 3]);
        assert_eq!(test.make_room(Resource::Places), 0, "the last one works");
        drop(in_flight);
        assert_eq!(test.make_room(Resource::Places), 1);
    }

    #[test]
    fn bytes_are_paid_for_by_the_connection_that_holds_the_most() {
        let mut test = Test::new();
        let small = test.open("192.0.2.1", None);
        let large = test.open("2001:db8::1", None);
        test.open("2001:db8::2", None);
        let hold = |connection: &Connection, bytes| {
            let _scope = connection.heap().enter();
            vec![0_u8; bytes]
        };
        let held = (hold(&small, 1000), hold(&large, 100_000));
        test.make_room(Resource::HeapBytes);
        assert_eq!(test.closed(), [1]);
        drop(held);
    }

    #[test]
    fn a_new_connection_has_time_to_ask() {
        let mut test = Test::new();
        test.open("192.0.2.1", None);
        assert_eq!(test.crowd.make_room(Resource::Places, Instant::now()), 0);
        assert_eq!(test.make_room(Resource::Places), 1);
    }

    #[test]
    fn bytes_are_taken_from_an_idle_connection_before_one_that_works() {
        let mut test = Test::new();
        let (works, idles) = (test.open("192.0.2.1", None), test.open("192.0.2.1", None));
        let hold = |connection: &Connection, bytes| {
            let _scope = connection.heap().enter();
            vec![0_u8; bytes]
        };
        let held = (hold(&works, 100_000), hold(&idles, 100_000));
        let in_flight = works.begin();
        test.make_room(Resource::HeapBytes);
        assert_eq!(test.closed(), [1]);
        drop((held, in_flight));
    }

    #[test]
    fn a_look_closes_a_part_of_many() {
        let mut test = Test::new();
        for _ in 0..640 {
            test.open("192.0.2.9", None);
        }
        assert_eq!(test.make_room(Resource::Places), 10);
        assert_eq!(test.closed(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_client_is_its_network() {
        let party = |address: &str| Party::new(address.parse().unwrap(), None);
        assert_eq!(party("2001:db8::1"), party("2001:db8::ffff:1"));
        assert_ne!(party("2001:db8::1"), party("2001:db8:0:1::1"));
        assert_eq!(party("::ffff:192.0.2.1"), party("192.0.2.1"));
        assert_ne!(party("192.0.2.1"), party("192.0.2.2"));
    }
}

//! The choice of the connections that make room.

use std::net::SocketAddr;

use futures_util::future::AbortHandle;

use super::*;
use crate::{body::BodyBudget, forwarded::Peer, heap::HeapBudget, options::Options};

/// A client that holds nothing yet.
const STRANGER: &str = "198.51.100.1";

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
        let from = Peer::of(peer, &[]);
        let connection = Connection::new(peer, from, bodies, &heap, end.clone());
        if let Some(tenant) = tenant {
            connection.asks_for(tenant);
        }
        let number = self.connections.len() as u64;
        self.crowd.add(number, connection.clone());
        self.connections.push((connection.clone(), end));
        connection
    }

    /// For a newcomer that holds nothing yet.
    fn make_place(&self) -> usize {
        self.make_place_for(STRANGER, false)
    }

    fn make_place_for(&self, client: &str, waited: bool) -> usize {
        let need = Need::Place { client: client.parse().unwrap(), waited };
        self.crowd.make_room(need, self.now)
    }

    fn make_heap(&self) -> usize {
        self.crowd.make_room(Need::HeapBytes, self.now)
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
    assert_eq!(test.make_place(), 1);
    assert_eq!(test.closed(), [1]);
    // Two against one of each other party: still the most.
    test.make_place();
    assert_eq!(test.closed(), [1, 2]);
    assert_eq!(test.make_place(), 1, "its tenants hold the same, and its network holds the most");
    assert_eq!(test.closed(), [1, 2, 3]);
    assert_eq!(test.make_place(), 1, "all hold the same, and one more has none");
    assert_eq!(test.closed(), [0, 1, 2, 3]);
}

/// Each of its connections is a party of its own, and yet they have one share.
#[test]
fn a_network_that_names_many_tenants_pays_for_itself() {
    let mut test = Test::new();
    // The neighbour's are older, and hold more than any other party.
    test.open("192.0.2.1", Some(0));
    test.open("192.0.2.1", Some(0));
    for tenant in 1..=60 {
        test.open("192.0.2.2", Some(tenant));
    }
    for client in [STRANGER, "192.0.2.1", "192.0.2.2"].repeat(10) {
        assert_eq!(test.make_place_for(client, true), 1, "{client}");
    }
    assert_eq!(test.closed(), (2..32).collect::<Vec<_>>());
}

#[test]
fn heap_is_paid_for_by_a_network_that_names_many_tenants() {
    let mut test = Test::new();
    let neighbour = test.open("192.0.2.1", Some(0));
    let many: Vec<_> = (1..=10).map(|tenant| test.open("192.0.2.2", Some(tenant))).collect();
    let hold = |connection: &Arc<Connection>, bytes| {
        let _scope = connection.heap().enter();
        vec![0_u8; bytes]
    };
    let mut held = vec![hold(&neighbour, 50_000)];
    held.extend(many.iter().map(|connection| hold(connection, 10_000)));
    for _ in 0..5 {
        assert_eq!(test.make_heap(), 1);
    }
    assert!(!test.closed().contains(&0), "{:?}", test.closed());
    drop(held);
}

/// Within a network, a tenant that holds more than its part pays before one that holds less, idle
/// as it may be.
#[test]
fn a_tenant_within_its_part_of_its_network_is_spared() {
    let mut test = Test::new();
    test.open("192.0.2.1", Some(1));
    let busy: Vec<_> = (0..5).map(|_| test.open("192.0.2.1", Some(2)).begin()).collect();
    assert_eq!(test.make_place(), 0);
    assert_eq!(test.make_place_for(STRANGER, true), 1);
    assert_eq!(test.closed(), [5], "the newest that works");
    drop(busy);
}

#[test]
fn connections_that_work_make_room_one_by_one_until_their_network_holds_as_little() {
    let mut test = Test::new();
    let busy: Vec<_> = (0..4).map(|_| test.open("192.0.2.1", Some(1)).begin()).collect();
    assert_eq!(test.make_place_for("192.0.2.2", false), 0, "a place may still come free");
    let mut new = Vec::new();
    for closed in [vec![3], vec![2, 3], vec![2, 3, 5]] {
        assert_eq!(test.make_place_for("192.0.2.2", true), 1);
        assert_eq!(test.closed(), closed, "two of each, and then the newcomer's own network pays");
        new.push(test.open("192.0.2.2", Some(1)).begin());
    }
    drop((busy, new));
}

/// Clients of two tenants may come from one address: a proxy's.
#[test]
fn within_a_network_a_tenant_that_works_makes_room_for_another() {
    let mut test = Test::new();
    let busy: Vec<_> = (0..3).map(|_| test.open("192.0.2.1", Some(1)).begin()).collect();
    assert_eq!(test.make_place_for("192.0.2.1", true), 1);
    let other = test.open("192.0.2.1", Some(2)).begin();
    assert_eq!(test.closed(), [2]);
    assert_eq!(test.make_place_for("192.0.2.1", true), 1);
    assert_eq!(test.closed(), [1, 2]);
    assert_eq!(test.make_place_for("192.0.2.1", true), 0, "a tenant that holds one keeps it");
    drop((busy, other));
}

#[test]
fn an_idle_connection_makes_room_before_one_that_works() {
    let mut test = Test::new();
    let busy: Vec<_> = (0..6).map(|_| test.open("192.0.2.1", Some(1)).begin()).collect();
    for _ in 0..5 {
        test.open("192.0.2.2", Some(1));
    }
    assert_eq!(test.make_place_for(STRANGER, true), 1);
    assert_eq!(test.closed(), [6], "more than a third, and idle");
    drop(busy);
}

#[test]
fn a_party_within_its_share_does_not_pay_for_one_that_works() {
    let mut test = Test::new();
    let works: Vec<_> = (0..5).map(|_| test.open("192.0.2.1", Some(1)).begin()).collect();
    test.open("192.0.2.2", None);
    assert_eq!(test.make_place(), 0);
    drop(works);
    assert_eq!(test.make_place(), 1);
    assert_eq!(test.closed(), [0]);
}

#[test]
fn a_connection_that_works_or_has_progressed_is_spared() {
    let mut test = Test::new();
    let (works, progresses) = (test.open("192.0.2.1", None), test.open("192.0.2.1", None));
    test.open("192.0.2.1", None);
    test.open("192.0.2.1", None);
    let in_flight = works.begin();
    test.make_place();
    assert_eq!(test.closed(), [1], "none has been seen before");
    drop(progresses);
    drop(test.connections[2].0.begin());
    test.make_place();
    assert_eq!(test.closed(), [1, 3]);
    test.make_place();
    assert_eq!(test.closed(), [1, 2, 3]);
    assert_eq!(test.make_place(), 0, "the last one works");
    drop(in_flight);
    assert_eq!(test.make_place(), 1);
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
    test.make_heap();
    assert_eq!(test.closed(), [1]);
    drop(held);
}

#[test]
fn a_new_connection_has_time_to_ask() {
    let mut test = Test::new();
    test.open("192.0.2.1", None);
    let need = Need::Place { client: STRANGER.parse().unwrap(), waited: true };
    assert_eq!(test.crowd.make_room(need, Instant::now()), 0);
    assert_eq!(test.make_place(), 1);
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
    test.make_heap();
    assert_eq!(test.closed(), [1]);
    drop((held, in_flight));
}

#[test]
fn a_look_closes_a_part_of_many() {
    let mut test = Test::new();
    for _ in 0..640 {
        test.open("192.0.2.9", None);
    }
    assert_eq!(test.make_place(), 10);
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

//! The open connections of a listener, and the choice of those that make room for others.
//!
//! Connections cost a client little. When all places are taken, or the heap that connections may
//! hold is used up, some of them are closed. The *network* of clients that holds the most pays, and
//! within that network the *tenant* that holds the most. A network that asks for many tenants
//! therefore has one share, and each of its tenants has a part of that share. A network, or a
//! tenant within its network, that holds less than its fair share keeps its connections.
//!
//! - A newcomer counts as if it had its place already: a place goes to the network and tenant that
//!   hold the least.
//! - For a *place*, of connections that wait for their client the one without progress for longest
//!   is closed first, but none that is so new that its client may just be sending.
//! - Where all of those that hold too much work, and no place comes free by itself, one that works
//!   is closed: the newest, which has the least to lose. A party that holds as little as the
//!   newcomer loses none, and the newcomer waits.
//! - For *heap*, of those that hold at least the mean of their party, the connections that wait for
//!   their client are closed first, and of these the one with the most.
//!
//! - A *party* is a client's network before its first request has a route, and the network with the
//!   request's tenant after that.
//! - The longest queue pays: Suter, Lakshman, Stiliadis, Choudhury, "Design considerations for
//!   supporting TCP with per-flow queueing", INFOCOM 1998 (longest queue drop).
//! - Progress is seen from one look to the next, as pages are by the CLOCK algorithm: Corbató, "A
//!   paging experiment with the Multics system", 1968.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lacewing_base::network::client_network;
use parking_lot::{Mutex, MutexGuard};

use super::connection::{Connection, ConnectionProgress};

/// Of the open connections, the part that one look closes. A look costs as much as there are
/// connections.
const CLOSED_PER_LOOK: usize = 64;

/// The time that a new connection has for its first request before it may have to make room: a
/// round trip and more.
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
    seen: Option<ConnectionProgress>,
}

/// The clients of one tenant in one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Party {
    network: IpAddr,
    tenant: Option<u64>,
}

impl Party {
    /// `tenant` is a number of its own.
    pub(super) fn new(client: IpAddr, tenant: Option<u64>) -> Party {
        Party { network: client_network(client), tenant }
    }
}

/// The shared resource that has run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A place for a new connection from this address. `waited`: none has come free for a while.
    Place { client: IpAddr, waited: bool },
    /// Heap for the connections that there are.
    HeapBytes,
}

impl Need {
    fn held_by(self, connection: &Connection) -> u64 {
        match self {
            Need::Place { .. } => 1,
            Need::HeapBytes => connection.heap_bytes() as u64,
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

    /// Closes some connections of the network and tenant that hold the most of what is needed.
    /// Returns how many.
    pub(super) fn make_room(&self, need: Need, now: Instant) -> usize {
        let mut members = self.members();
        let chosen = choose(&mut members, need, now);
        for number in &chosen {
            // Its task removes it once more, and finds nothing.
            if let Some(member) = members.remove(number) {
                member.connection.close();
            }
        }
        chosen.len()
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Member>> {
        self.members.lock()
    }
}

/// A part of a resource.
#[derive(Clone, Copy, Debug, Default)]
struct PartyShare {
    held: u64,
    /// Those that hold it together: the parties of a network, the connections of a party.
    holders: u64,
}

impl PartyShare {
    /// Whether a holder of `held` has at least the mean of all holders. One that holds less is
    /// within its fair share.
    fn is_mean(self, held: u64) -> bool {
        held.saturating_mul(self.holders) >= self.held
    }
}

/// The parts of a resource that networks hold, and the parties within them.
#[derive(Debug, Default)]
struct PartyShares {
    all: PartyShare,
    networks: HashMap<IpAddr, PartyShare>,
    parties: HashMap<Party, PartyShare>,
}

impl PartyShares {
    /// Counts a connection.
    fn add(&mut self, party: Party, held: u64) {
        let network = self.networks.entry(party.network).or_insert_with(|| {
            self.all.holders += 1;
            PartyShare::default()
        });
        let share = self.parties.entry(party).or_insert_with(|| {
            network.holders += 1;
            PartyShare::default()
        });
        share.holders += 1;
        for part in [&mut self.all, network, share] {
            part.held += held;
        }
    }

    fn network(&self, party: &Party) -> PartyShare {
        self.networks.get(&party.network).copied().unwrap_or_default()
    }

    fn party(&self, party: &Party) -> PartyShare {
        self.parties.get(party).copied().unwrap_or_default()
    }

    /// Whether a party has its fair share or more: its network of all, and the party of its
    /// network.
    fn may_pay(&self, party: &Party) -> bool {
        let network = self.network(party);
        self.all.is_mean(network.held) && network.is_mean(self.party(party).held)
    }

    /// Whether to close what works for a newcomer leaves its party with no less than the newcomer's
    /// has then.
    fn is_ahead_of(&self, party: &Party, newcomer: &Party) -> bool {
        if party.network == newcomer.network {
            self.party(party).held > self.party(newcomer).held
        } else {
            self.network(party).held > self.network(newcomer).held
        }
    }

    /// The order in which parties pay: the last one first.
    fn rank(&self, party: &Party) -> (u64, u64) {
        (self.network(party).held, self.party(party).held)
    }
}

/// A connection that could be closed.
#[derive(Clone, Copy, Debug)]
struct ClosingCandidate {
    party: Party,
    number: u64,
    waits: bool,
    progressed: bool,
    /// Whether its client may just be sending its first request.
    is_new: bool,
    held: u64,
}

fn choose(members: &mut BTreeMap<u64, Member>, need: Need, now: Instant) -> Vec<u64> {
    let (shares, mut candidates) = look(members, need, now);
    candidates.retain(|candidate| shares.may_pay(&candidate.party));
    let (client, waited) = match need {
        Need::HeapBytes => return choose_some(&shares, candidates, members.len(), need),
        Need::Place { client, waited } => (client, waited),
    };
    let (waiting, mut working): (Vec<_>, Vec<_>) =
        candidates.into_iter().partition(|candidate| candidate.waits);
    // One that is new may make room soon.
    if !waiting.is_empty() || !waited {
        let old = waiting.into_iter().filter(|candidate| !candidate.is_new).collect();
        return choose_some(&shares, old, members.len(), need);
    }
    let newcomer = Party::new(client, None);
    working.retain(|candidate| shares.is_ahead_of(&candidate.party, &newcomer));
    // One at a time: each is a request that goes unanswered.
    let newest =
        working.iter().max_by_key(|candidate| (shares.rank(&candidate.party), candidate.number));
    newest.map(|candidate| candidate.number).into_iter().collect()
}

/// Counts what each party holds, and notes how far each connection has come.
fn look(
    members: &mut BTreeMap<u64, Member>,
    need: Need,
    now: Instant,
) -> (PartyShares, Vec<ClosingCandidate>) {
    let mut shares = PartyShares::default();
    if let Need::Place { client, .. } = need {
        shares.add(Party::new(client, None), 1);
    }
    let mut candidates = Vec::with_capacity(members.len());
    for (number, member) in members {
        let connection = &member.connection;
        let (party, held) = (connection.party(), need.held_by(connection));
        shares.add(party, held);
        let progress = connection.progress();
        candidates.push(ClosingCandidate {
            party,
            number: *number,
            waits: connection.waits_for_client(),
            progressed: member.seen.replace(progress) != Some(progress),
            is_new: now.saturating_duration_since(member.opened) < TIME_TO_ASK,
            held,
        });
    }
    (shares, candidates)
}

/// Chooses some connections of the party that holds the most.
fn choose_some(
    shares: &PartyShares,
    mut candidates: Vec<ClosingCandidate>,
    members: usize,
    need: Need,
) -> Vec<u64> {
    // Of parties that hold the same, the one whose connection is the oldest without progress.
    let rank =
        |candidate: &&ClosingCandidate| (shares.rank(&candidate.party), !candidate.progressed);
    let Some(ClosingCandidate { party, .. }) = candidates.iter().rev().max_by_key(rank).copied()
    else {
        return Vec::new();
    };
    // To close a connection that holds little makes little room.
    let share = shares.party(&party);
    candidates.retain(|candidate| candidate.party == party && share.is_mean(candidate.held));
    // Stable, so that of those that are alike the oldest comes first.
    candidates.sort_by_key(|candidate| match need {
        Need::Place { .. } => (candidate.progressed, Reverse(0)),
        Need::HeapBytes => (!candidate.waits, Reverse(candidate.held)),
    });
    // A party does not lose all at once what the next look might find another party to hold.
    let most = (members / CLOSED_PER_LOOK).clamp(1, candidates.len().div_ceil(2).max(1));
    candidates.iter().take(most).map(|candidate| candidate.number).collect()
}

#[cfg(test)]
mod tests;

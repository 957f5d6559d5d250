//! Clients that ask at once, and the answers that they got.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use anyhow::Context as _;

use crate::client::Client;

/// The host name is any: the host serves one app.
const HOST: &str = "bank.test";

/// A number of transactions, by a number of clients.
pub(super) struct Load {
    address: SocketAddr,
    pub(super) clients: u32,
    /// Transactions of each client in one workload.
    pub(super) rounds: u32,
    /// Orders sends and answers among all clients.
    clock: Arc<AtomicU64>,
}

/// One transaction as its client saw it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) path: String,
    /// What the function said; `None` where the transaction gave up.
    pub(super) said: Option<String>,
    /// The moment before the request was sent.
    pub(super) sent: u64,
    /// The moment after its answer was read.
    pub(super) answered: u64,
}

impl Load {
    pub(super) fn new(address: SocketAddr, clients: u32, transactions: u32) -> Load {
        let rounds = transactions.div_ceil(clients.max(1));
        Load { address, clients, rounds, clock: Arc::default() }
    }

    /// Has each client ask for a path in each round, and gives all answers.
    pub(super) async fn run(
        &self,
        path: impl Fn(u32, u32) -> String + Clone + Send + 'static,
    ) -> anyhow::Result<Vec<Answer>> {
        let clients = (0..self.clients).map(|client| {
            let (path, rounds) = (path.clone(), self.rounds);
            let paths = (0..rounds).map(move |round| path(client, round));
            tokio::spawn(ask(self.address, self.clock.clone(), paths))
        });
        let clients: Vec<_> = clients.collect();
        let mut answers = Vec::new();
        for client in clients {
            answers.extend(client.await??);
        }
        Ok(answers)
    }

    /// Asks for some paths one after the other.
    pub(super) async fn ask(&self, paths: Vec<String>) -> anyhow::Result<Vec<Answer>> {
        ask(self.address, self.clock.clone(), paths.into_iter()).await
    }
}

async fn ask(
    address: SocketAddr,
    clock: Arc<AtomicU64>,
    paths: impl Iterator<Item = String>,
) -> anyhow::Result<Vec<Answer>> {
    let mut client = Client::new(address, HOST, "/");
    let mut answers = Vec::new();
    for path in paths {
        client.set_path(HOST, &path);
        let sent = clock.fetch_add(1, SeqCst);
        let (status, text) = client.ask_text().await.with_context(|| path.clone())?;
        let answered = clock.fetch_add(1, SeqCst);
        let said = match status {
            200 => Some(text),
            204 => Some(String::new()),
            409 => None,
            status => anyhow::bail!("{path}: {status} {text}"),
        };
        answers.push(Answer { path, said, sent, answered });
    }
    Ok(answers)
}

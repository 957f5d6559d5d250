//! Clients that write until the host ends, and the check of their writes afterwards.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use lacewing_benches::{
    client::{Client, get},
    process::Host,
};
use rusty_s3::Credentials;

use super::s3::ObjectWriter;

/// The host name of the guest `ledger`.
pub(super) const HOST: &str = "ledger.test";

/// The writers of one state, each with the number of its last write that was acknowledged.
pub(super) struct Writers {
    http: Vec<Writer>,
    s3: Vec<Writer>,
    key: Credentials,
}

#[derive(Default)]
struct Writer {
    acknowledged: Arc<AtomicU32>,
    /// The last write of the last check.
    checked: u32,
}

/// The writes of all rounds.
#[derive(Default)]
pub(super) struct Count {
    pub(super) acknowledged: u64,
    pub(super) acknowledged_to_s3: u64,
    pub(super) unanswered: u64,
}

impl Writers {
    /// Writers that have written nothing.
    pub(super) fn new(http: u32, s3: u32, key: Credentials) -> Writers {
        let writers = |count| (0..count).map(|_| Writer::default()).collect();
        Writers { http: writers(http), s3: writers(s3), key }
    }

    /// Has all of them write until the host is ended, which it is after `time`.
    pub(super) async fn write_until_ended(
        &self,
        host: Host,
        time: Duration,
        end: impl FnOnce(Host) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut writing = Vec::new();
        for (client, writer) in (0..).zip(&self.http) {
            let last = writer.acknowledged.clone();
            writing.push(tokio::spawn(write_over_http(host.address(), client, last)));
        }
        for (client, writer) in self.s3.iter().enumerate() {
            let asking = ObjectWriter::new(host.s3_address(), &self.key, client)?;
            writing.push(tokio::spawn(write_over_s3(asking, writer.acknowledged.clone())));
        }
        tokio::time::sleep(time).await;
        end(host)?;
        for writer in writing {
            // A panic of a client is shown by the check.
            let _ = writer.await;
        }
        Ok(())
    }

    /// Checks the last write of each, which may be one more than the last acknowledged one, and
    /// that the sum of the accounts is 0.
    pub(super) async fn check(&mut self, host: &Host, count: &mut Count) -> anyhow::Result<()> {
        for (client, writer) in (0..).zip(&mut self.http) {
            let acknowledged = writer.acknowledged.load(SeqCst);
            let there = check_ledger(host.address(), client, acknowledged)?;
            count.acknowledged += u64::from(acknowledged - writer.checked);
            writer.note(there, count);
        }
        for (client, writer) in self.s3.iter_mut().enumerate() {
            let mut asking = ObjectWriter::new(host.s3_address(), &self.key, client)?;
            let acknowledged = writer.acknowledged.load(SeqCst);
            let there = asking.check(acknowledged).await?;
            count.acknowledged_to_s3 += u64::from(acknowledged - writer.checked);
            writer.note(there, count);
        }
        let sum = get(host.address(), HOST, "/sum")?;
        anyhow::ensure!(sum == "0", "the accounts have a sum of {sum}");
        Ok(())
    }
}

impl Writer {
    /// Goes on from the last write that is there.
    fn note(&mut self, there: u32, count: &mut Count) {
        count.unanswered += u64::from(there - self.acknowledged.swap(there, SeqCst));
        self.checked = there;
    }
}

async fn write_over_http(address: SocketAddr, client: u32, last: Arc<AtomicU32>) {
    let mut asking = Client::new(address, HOST, "/");
    loop {
        let next = last.load(SeqCst) + 1;
        // The writes of every fourth client have an object.
        let write = if client.is_multiple_of(4) { "put" } else { "write" };
        asking.set_path(HOST, &format!("/{write}/{client}/{next}"));
        match asking.ask().await {
            Ok(204) => last.store(next, SeqCst),
            // A conflict that stays: the write was not made.
            Ok(409) => {}
            Ok(_) | Err(_) => return,
        }
    }
}

async fn write_over_s3(mut asking: ObjectWriter, last: Arc<AtomicU32>) {
    loop {
        let next = last.load(SeqCst) + 1;
        match asking.put(next).await {
            Ok(true) => last.store(next, SeqCst),
            Ok(false) | Err(_) => return,
        }
    }
}

/// The last write of a client that is there.
fn check_ledger(address: SocketAddr, client: u32, acknowledged: u32) -> anyhow::Result<u32> {
    let said = get(address, HOST, &format!("/check/{client}"))?;
    let numbers = said.split_once(' ').map(|(last, count)| (last.parse(), count.parse()));
    let Some((Ok(last), Ok(count))) = numbers else { anyhow::bail!("client {client}: {said}") };
    let (last, count): (u32, u32) = (last, count);
    anyhow::ensure!(
        last == acknowledged || last == acknowledged + 1,
        "client {client}: write {acknowledged} was acknowledged, and {last} is the last one there"
    );
    anyhow::ensure!(count == last, "client {client}: of {last} writes {count} are there");
    Ok(last)
}

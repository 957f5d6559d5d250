//! The parts that tests of the gate share: grants from text, names without DNS, servers on
//! loopback.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body_util::{BodyExt, Full};
use lacewing_base::{EgressBounds, Grants, Limits, TenantAccount, fair::Weight};
use lacewing_telemetry::{Captured, Context, GuestLog, InvocationId, Origin, Sink};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use wasmtime_wasi_http::{Error as Code, RequestOptions, WasiBody};

use super::{
    Driver, Egress, EgressLimits, EgressOptions, Gate, Lookup, Policy, Propagation, Resolve,
    Timeouts,
};

/// A policy of grants as they stand in a manifest.
pub(super) fn policy(http: &[&str], networks: &[&str]) -> Policy {
    Policy::new(&Grants {
        http: http.iter().map(|text| text.parse().unwrap()).collect(),
        networks: networks.iter().map(|text| text.parse().unwrap()).collect(),
        ..Grants::default()
    })
}

/// Knows the names it was told, and no others. A name without addresses is never resolved.
#[derive(Default)]
pub(super) struct FakeResolver(HashMap<String, Vec<IpAddr>>);

impl FakeResolver {
    pub(super) fn of(names: &[(&str, &[&str])]) -> Arc<FakeResolver> {
        let parse = |text: &&str| text.parse().unwrap();
        let entry = |(name, addresses): &(&str, &[&str])| {
            ((*name).to_owned(), addresses.iter().map(parse).collect())
        };
        Arc::new(FakeResolver(names.iter().map(entry).collect()))
    }
}

impl Resolve for FakeResolver {
    fn resolve(&self, name: Arc<str>) -> Lookup {
        let addresses = self.0.get(&*name).cloned();
        Box::pin(async move {
            match addresses {
                None => Err(io::Error::new(io::ErrorKind::NotFound, "no such name")),
                Some(addresses) if addresses.is_empty() => std::future::pending().await,
                Some(addresses) => Ok(addresses),
            }
        })
    }
}

/// A gate with its log.
pub(super) struct Setup {
    pub(super) egress: Arc<Egress>,
    account: Arc<TenantAccount>,
    pub(super) gate: Gate,
    sink: Sink,
}

pub(super) fn options(names: &[(&str, &[&str])]) -> EgressOptions {
    EgressOptions { resolver: FakeResolver::of(names), ..EgressOptions::default() }
}

/// Options under which waiting is short: for tests that wait until a timeout comes.
pub(super) fn impatient(names: &[(&str, &[&str])]) -> EgressOptions {
    let short = Duration::from_millis(20);
    let timeouts = Timeouts { dns: short, connect: short, first_byte: short, between_bytes: short };
    EgressOptions { timeouts, ..options(names) }
}

pub(super) fn limits() -> EgressLimits {
    EgressLimits::from(&Limits::default())
}

impl Setup {
    pub(super) fn new(options: EgressOptions, policy: Policy, limits: EgressLimits) -> Setup {
        Setup::propagating(options, policy, limits, Propagation::default())
    }

    /// Of a tenant whose operator is its developer.
    pub(super) fn propagating(
        options: EgressOptions,
        policy: Policy,
        limits: EgressLimits,
        propagation: Propagation,
    ) -> Setup {
        let egress = Arc::new(Egress::new(options).unwrap());
        Setup::of_tenant("x", egress, policy, limits, propagation)
    }

    /// A gate of another tenant's, on the same way out.
    pub(super) fn neighbour(&self, policy: Policy) -> Setup {
        let egress = self.egress.clone();
        Setup::of_tenant("neighbour", egress, policy, limits(), Propagation::default())
    }

    fn of_tenant(
        tenant: &str,
        egress: Arc<Egress>,
        policy: Policy,
        limits: EgressLimits,
        propagation: Propagation,
    ) -> Setup {
        let (app, function) = ("x".parse().unwrap(), "x".parse().unwrap());
        let (sink, weight) = (Sink::memory(), Weight::new(1));
        let (lines, outbound) = (sink.shares(&weight), egress.share());
        outbound.set_bounds(Arc::new(EgressBounds::none()));
        let account = TenantAccount::new(tenant.parse().unwrap(), weight, lines, outbound);
        let origin = Origin::new(account.clone(), app, function, "r1".into());
        let context = Arc::new(Context::new(Arc::new(origin), InvocationId(1)));
        let log = Arc::new(GuestLog::new(context, 64 * 1024, sink.clone()));
        let gate = Gate::new(egress.clone(), policy, limits, propagation, log);
        Setup { egress, account, gate, sink }
    }

    /// Sets the bounds of the gate's tenant.
    pub(super) fn set_bounds(&self, bounds: EgressBounds) {
        self.account.outbound.set_bounds(Arc::new(bounds));
    }

    /// The gate's lines in the log.
    pub(super) fn said(&self) -> Vec<String> {
        let message = |captured| match captured {
            Captured::Line(line) => line.message,
            Captured::Record(record) => record,
        };
        self.sink.take().into_iter().map(message).collect()
    }

    pub(super) async fn open(
        &mut self,
        request: Request<WasiBody>,
    ) -> Result<(Response<WasiBody>, JoinHandle<Result<(), Code>>), Code> {
        let (response, driver) = self.gate.send(request, None).await?;
        Ok((response, drive(driver)))
    }

    /// Sends a request and reads all of the response.
    pub(super) async fn fetch(
        &mut self,
        request: Request<WasiBody>,
    ) -> Result<(Parts, Result<Bytes, Code>), Code> {
        self.fetch_with(request, RequestOptions::default()).await
    }

    pub(super) async fn fetch_with(
        &mut self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Result<(Parts, Result<Bytes, Code>), Code> {
        let (response, driver) = self.gate.send(request, Some(options)).await?;
        let driver = drive(driver);
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        driver.abort();
        Ok((parts, body))
    }
}

fn drive(driver: Driver) -> JoinHandle<Result<(), Code>> {
    tokio::spawn(Box::into_pin(driver))
}

pub(super) fn get(uri: &str) -> Request<WasiBody> {
    request("GET", uri, "")
}

pub(super) fn request(method: &str, uri: &str, body: &'static str) -> Request<WasiBody> {
    let body = Full::new(Bytes::from_static(body.as_bytes()));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    Request::builder().method(method).uri(uri).body(body).unwrap()
}

/// A server on loopback that handles each connection in its own way, until it is dropped.
pub(super) struct LoopbackServer {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl LoopbackServer {
    pub(super) async fn start<H, F>(handle: H) -> LoopbackServer
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(handle(stream));
            }
        });
        LoopbackServer { address, task }
    }

    /// A server that reads a request's head, hands it out, and answers with these bytes.
    pub(super) async fn answering(
        answer: &'static str,
    ) -> (LoopbackServer, mpsc::UnboundedReceiver<String>) {
        let (heads, received) = mpsc::unbounded_channel();
        let server = LoopbackServer::start(move |mut stream| {
            let heads = heads.clone();
            async move {
                let head = read_head(&mut stream).await;
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.unwrap();
                let _ = heads.send(head);
            }
        })
        .await;
        (server, received)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads up to the empty line.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

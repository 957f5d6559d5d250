//! Guests that would reach what they were not granted, or hold what others need to reach theirs.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::Target;

/// Every name and every address, as far as a grant of names goes.
const ANYWHERE: &str = "http = [\"*://*:*\"]";

/// The operator's setting that a test needs to call a server on loopback.
pub(super) const LOOPBACK: &str = "egress.networks = [\"127.0.0.0/8\"]";

/// Asks for each of these hosts, in both versions of wasi:http. Nothing is sent, and the guest is
/// told why.
async fn refused(hosts: &[&str]) {
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest).grants(ANYWHERE).limits("outbound_requests = 100");
        target
            .attacked(async |asked| {
                for host in hosts {
                    let ended = asked.get(&format!("/fetch/http://{host}/")).await.is(200, "ok");
                    let text = ended.reply.text();
                    assert!(text.contains("DestinationIpProhibited"), "{host}: {text}");
                }
                let said = asked.lines();
                assert!(said.iter().all(|line| line.contains(" is refused: ")), "{said:?}");
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback() {
    refused(&["127.0.0.1", "127.8.9.10:8080", "[::1]", "localhost", "LOCALHOST:9180"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_networks() {
    refused(&["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1:443", "[fd00::1]"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_local_and_metadata() {
    refused(&["169.254.169.254", "169.254.1.1", "[fe80::1]", "[fd00:ec2::254]"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carrier_grade_nat() {
    refused(&["100.64.0.1", "100.127.255.254", "100.100.100.200"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn multicast_and_broadcast() {
    refused(&["224.0.0.1", "239.255.255.250:1900", "255.255.255.255", "[ff02::1]"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn this_very_machine_by_no_address() {
    refused(&["0.0.0.0", "0.1.2.3", "[::]"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv4_inside_of_ipv6() {
    refused(&[
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::ffff:169.254.169.254]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::a00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
    ])
    .await;
}

/// A name that other resolvers take for an address is no address here, or the one that it is for
/// the system, which is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_in_other_clothes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest).grants(ANYWHERE);
        target
            .attacked(async |asked| {
                for host in
                    ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1.", "localhost."]
                {
                    let url = format!("/fetch/http://{host}:{port}/");
                    let ended = asked.get(&url).await.is(200, "ok");
                    let text = ended.reply.text().to_owned();
                    assert!(
                        text.starts_with("failed: ") || text.starts_with("no "),
                        "{host}: {text}"
                    );
                }
            })
            .await;
    }
    tokio::select! {
        biased;
        connected = listener.accept() => panic!("{connected:?}"),
        () = std::future::ready(()) => {}
    }
}

/// Answers each connection's first request with this, and counts the connections that are open.
pub(super) struct Server {
    port: u16,
    /// Connections that there ever were, that are open, and the most that were at once.
    requests: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Server {
    pub(super) async fn start<F: Future<Output = ()> + Send>(
        answer: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let [requests, open, most] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let answer = Arc::new(answer);
        tokio::spawn({
            let (requests, open, most) = (requests.clone(), open.clone(), most.clone());
            async move {
                while let Ok((socket, _)) = listener.accept().await {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let (open, most, answer) = (open.clone(), most.clone(), answer.clone());
                    tokio::spawn(async move {
                        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        answer(socket).await;
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Server { port, requests, open, most }
    }

    /// This text, and then the end.
    async fn says(text: String) -> Server {
        Server::start(move |mut socket| {
            let text = text.clone();
            async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let _ = socket.write_all(text.as_bytes()).await;
                let _ = socket.read_to_end(&mut Vec::new()).await;
            }
        })
        .await
    }

    pub(super) fn granted(&self) -> String {
        format!("http = [\"http://127.0.0.1:{}\", \"http://*:*\"]", self.port)
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_into_the_machine() {
    let inside =
        Server::says("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret".to_owned()).await;
    for location in
        [format!("http://127.0.0.1:{}/", inside.port), format!("http://localhost:{}/", inside.port)]
    {
        let outside = Server::says(format!(
            "HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await;
        let target = Target::guest("portable-02").grants(&outside.granted()).settings(LOOPBACK);
        target
            .attacked(async |host| {
                let ended = host.get(&format!("/follow/{}", outside.url())).await.is(200, "ok");
                assert!(
                    ended.reply.text().contains("DestinationIpProhibited"),
                    "{}",
                    ended.reply.text()
                );
            })
            .await;
    }
    assert_eq!(inside.most.load(Ordering::SeqCst), 0, "nobody got there");
}

#[tokio::test(flavor = "multi_thread")]
async fn outbound_connections_without_number() {
    let server =
        Server::says("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned()).await;
    let limits = "outbound_concurrency = 4\ndeadline_ms = 300\ncpu_ms = 300";
    let target =
        Target::guest("hostile-03").grants(&server.granted()).settings(LOOPBACK).limits(limits);
    target
        .attacked(async |host| {
            host.get(&format!("/open/60/{}", server.url())).await.is(504, "deadline_exceeded");
        })
        .await;
    assert_eq!(server.most.load(Ordering::SeqCst), 4);
    crate::harness::eventually("they are closed", || server.open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outbound_requests_that_never_end() {
    // An answered request is over, whatever would still be sent: its connection is closed, and its
    // place is free.
    let server = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone".to_owned()).await;
    let limits = "outbound_concurrency = 4\ndeadline_ms = 2000\ncpu_ms = 2000";
    let target =
        Target::guest("hostile-02").grants(&server.granted()).settings(LOOPBACK).limits(limits);
    target
        .attacked(async |host| {
            let asked = async {
                host.get(&format!("/send/60/{}", server.url())).await.is(504, "deadline_exceeded");
            };
            let seen = crate::harness::eventually("all are sent", || {
                server.requests.load(Ordering::SeqCst) == 60
            });
            tokio::join!(asked, seen);
        })
        .await;
    // The server may see the next ones before the end of those before.
    let most = server.most.load(Ordering::SeqCst);
    assert!(most < 20, "{most} connections at once");
    crate::harness::eventually("they are closed", || server.open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outbound_requests_without_number() {
    let server = Server::says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    let limits = "outbound_requests = 0";
    let target =
        Target::guest("portable-02").grants(&server.granted()).settings(LOOPBACK).limits(limits);
    target
        .attacked(async |host| {
            let ended = host.get(&format!("/fetch/{}", server.url())).await.is(200, "ok");
            assert!(
                ended.reply.text().contains("ConnectionLimitReached"),
                "{}",
                ended.reply.text()
            );
        })
        .await;
    assert_eq!(server.most.load(Ordering::SeqCst), 0);
}

/// Sends a head and then the same piece until nobody takes it.
async fn endless(mut socket: TcpStream, head: &str, piece: &[u8]) {
    let _ = socket.read(&mut [0; 4096]).await;
    let _ = socket.write_all(head.as_bytes()).await;
    while socket.write_all(piece).await.is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_body_has_no_end() {
    let server =
        Server::start(|socket| endless(socket, "HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 65536])).await;
    for guest in ["portable-02", "portable-03"] {
        let limits = "egress_kib = 256\ncpu_ms = 5000";
        let target =
            Target::guest(guest).grants(&server.granted()).settings(LOOPBACK).limits(limits);
        target
            .attacked(async |host| {
                let before = host.records().len();
                let request = format!(
                    "GET /fetch/{} HTTP/1.1\r\nhost: suspect.test\r\nconnection: close\r\n\r\n",
                    server.url()
                );
                host.raw_reply(request).await;
                let record = host.record(before).await;
                assert!(["ok", "trap"].contains(&record["outcome"].as_str().unwrap()), "{record}");
                assert!(record["memory_peak_bytes"].as_u64().unwrap() < 8 << 20, "{record}");
            })
            .await;
    }
    crate::harness::eventually("they are closed", || server.open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_head_has_no_end() {
    let server = Server::start(|socket| {
        endless(socket, "HTTP/1.1 200 OK\r\n", b"x-filler: aaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
    })
    .await;
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest).grants(&server.granted()).settings(LOOPBACK);
        target
            .attacked(async |host| {
                let ended = host.get(&format!("/fetch/{}", server.url())).await.is(200, "ok");
                assert!(ended.reply.text().starts_with("failed: "), "{}", ended.reply.text());
            })
            .await;
    }
    crate::harness::eventually("they are closed", || server.open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers() {
    let server = Server::start(|mut socket| async move {
        let _ = socket.read_to_end(&mut Vec::new()).await;
    })
    .await;
    for guest in ["portable-02", "portable-03"] {
        let target = Target::guest(guest)
            .grants(&server.granted())
            .settings(LOOPBACK)
            .limits("deadline_ms = 150");
        target
            .attacked(async |host| {
                let path = format!("/fetch/{}", server.url());
                host.get(&path)
                    .await
                    .is(504, "deadline_exceeded")
                    .because("the deadline has passed");
            })
            .await;
    }
    crate::harness::eventually("they are closed", || server.open.load(Ordering::SeqCst) == 0).await;
}

//! Clients of the S3 API that would keep others out, or fill what the host has.

use std::{net::SocketAddr, time::Instant};

use futures_util::future::join_all;
use http::Method;
use rusty_s3::S3Action;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Host, PATIENCE, Target, rest};
use crate::{
    client::Raw,
    harness::{lacewing, pause},
    s3::client::{S3Client, TIME, code, key_of, path_of, send, upload_id},
};

/// Waiting is short, and there are few places.
const IMPATIENT: &str =
    "s3 = \"127.0.0.1:0\"\n[connections]\nmax = 100\nheader_timeout_s = 1\nbody_idle_timeout_s = 1";

const FILES: &str = "suspect.files";

/// A suspect with a bucket of 2 MiB.
fn target() -> Target {
    let grants = "buckets = { files = \"read-write\" }\n[buckets.files]\nmax_mib = 2\n";
    Target::guest("objects").grants(grants).settings(IMPATIENT)
}

/// A client with a key of the suspect's.
fn client(host: &Host) -> S3Client {
    let output = lacewing()
        .args(["s3", "create-key", "--tenant", "suspect", "--host"])
        .arg(host.path("host.toml"))
        .env_remove("LACEWING_STATE")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    let key = key_of(std::str::from_utf8(&output.stdout).unwrap());
    S3Client { address: host.s3(), key }
}

/// Attacks the listener, and reads an object all the while. Afterwards no connection is left.
async fn attacked(attack: impl AsyncFn(&Host, &S3Client)) {
    let warm = async |host: &Host| {
        let client = client(host);
        assert_eq!(client.put(FILES, "o", b"kept").await.status, 200);
        // Readers beside each other leave as many connections to the database as it keeps.
        let read = async |_| assert_eq!(client.get(FILES, "o").await.status, 200);
        for _ in 0..10 {
            join_all((0..16).map(read)).await;
        }
        host.until("lacewing_s3_connections_open", |open| open == 0).await;
    };
    let attack = async |host: &Host| {
        let client = client(host);
        attack(host, &client).await;
        let kept = client.get(FILES, "o").await;
        assert_eq!((kept.status, kept.text()), (200, "kept"));
        host.until("lacewing_s3_connections_open", |open| open == 0).await;
    };
    target().attacked_after(warm, attack).await;
}

/// A connection to which bytes were sent.
async fn raw(address: SocketAddr, bytes: impl AsRef<[u8]>) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(bytes.as_ref()).await;
    socket
}

/// The head of a signed request with a body.
fn head(client: &S3Client, method: &str, url: &str, bytes: usize) -> String {
    let (path, host) = (path_of(client.address, url), client.address);
    format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {bytes}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing() {
    attacked(async |host, client| {
        let mut idle = Vec::new();
        for n in 0..300 {
            let begun = if n % 2 == 0 { "" } else { "GET / HTTP/1.1\r\nx: " };
            idle.push(raw(client.address, begun).await);
        }
        // There are 100 places, and the newest clients have them.
        assert_eq!(client.get(FILES, "o").await.text(), "kept");
        host.until("lacewing_s3_connections_open", |open| open <= 100).await;
        for socket in idle {
            rest(socket).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_go_on() {
    attacked(async |_, client| {
        let put = head(client, "PUT", &client.put_url(FILES, "slow"), 1000);
        let bucket = client.bucket(FILES);
        let complete =
            bucket.complete_multipart_upload(Some(&client.key), "o", "0", std::iter::empty());
        let xml = head(client, "POST", complete.sign(TIME).as_str(), 1000);
        let begun = (0..30).map(async |n| {
            let head = if n % 2 == 0 { &put } else { &xml };
            rest(raw(client.address, &format!("{head}begun")).await).await
        });
        for reply in join_all(begun).await {
            assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
            assert!(reply.contains("<Code>RequestTimeout</Code>"), "{reply}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_bodies_without_end() {
    attacked(async |host, client| {
        let many = "x: y\r\n".repeat(5000);
        let long = format!("x: {}\r\n", "y".repeat(1 << 20));
        for fields in [many, long] {
            let reply = rest(raw(client.address, &format!("GET / HTTP/1.1\r\n{fields}\r\n")).await);
            let reply = reply.await;
            assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431 "), "{reply}");
        }
        let id = upload_id(&client.begin(FILES, "x", &[]).await);
        let upload = (FILES, "x", &*id);
        let deep = "<a>".repeat(300_000);
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>".to_owned();
        let outside = "<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]>\
            <CompleteMultipartUpload><Part><ETag>&b;</ETag></Part></CompleteMultipartUpload>";
        let part = format!("<Part>{}</Part>", "<PartNumber>1</PartNumber>".repeat(50_000));
        let nested = format!("<CompleteMultipartUpload>{part}</CompleteMultipartUpload>");
        // Each of the shortest elements takes twenty times its text.
        let many = "<Part/>".repeat(250_000);
        let many = format!("<CompleteMultipartUpload>{many}</CompleteMultipartUpload>");
        for xml in [deep, bomb, outside.to_owned(), nested, many] {
            let reply = client.complete(upload, &[], &xml).await;
            assert_eq!(code(&reply), (400, "MalformedXML".into()));
        }
        let bucket = client.bucket(FILES);
        let complete =
            bucket.complete_multipart_upload(Some(&client.key), "x", &id, std::iter::empty());
        let large = head(client, "POST", complete.sign(TIME).as_str(), (2 << 20) + 1);
        let large = rest(raw(client.address, &large).await).await;
        assert!(large.contains("<Code>MaxMessageLengthExceeded</Code>"), "{large}");
        assert_eq!(host.figure("lacewing_s3_requests_failed_total").await, 0);
    })
    .await;
}

/// Forms that s3s would have in memory as a whole, also where their type can be read in two ways.
#[tokio::test(flavor = "multi_thread")]
async fn forms_whose_files_have_no_end() {
    attacked(async |_, client| {
        let address = client.address;
        let types: [(&[u8], &str); 3] = [
            (b"multipart/form-data; boundary=b", "MissingContentLength"),
            (b"\xff\r\ncontent-type: multipart/form-data; boundary=b", "InvalidRequest"),
            ("multipart/form-data; boundary=b; a=\"\u{e9}\"".as_bytes(), "InvalidRequest"),
        ];
        let forms = (0..60).map(async |n: usize| {
            let (kind, code) = types[n % types.len()];
            let begin = format!("POST /{FILES} HTTP/1.1\r\nhost: {address}\r\ncontent-type: ");
            let end = "\r\ntransfer-encoding: chunked\r\n\r\n100000\r\n";
            let mut socket = raw(address, &[begin.as_bytes(), kind, end.as_bytes()].concat()).await;
            // The host answers before the file has come.
            let mut answer = [0; 4096];
            let read = socket.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..read]);
            assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
            assert!(answer.contains(&format!("<Code>{code}</Code>")), "{answer}");
        });
        join_all(forms).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_do_not_go_on() {
    attacked(async |_, client| {
        let begin = format!(
            "POST /{FILES} HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000\r\n\
             content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n",
            client.address
        );
        let mut begun = Vec::new();
        for _ in 0..20 {
            begun.push(raw(client.address, &begin).await);
        }
        let replies = join_all(begun.into_iter().map(rest)).await;
        let text = "4 forms of one network are on their way already";
        let refused = replies.iter().filter(|reply| reply.contains(text)).count();
        // The others end as all bodies that do not go on.
        let late = replies.iter().filter(|reply| reply.contains("RequestTimeout")).count();
        assert!(refused > 0 && refused + late == 20, "{refused} and {late} of {replies:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_with_the_key_of_another_client() {
    attacked(async |_, client| {
        let (path, address) = (client.get_url(FILES, "o"), client.address);
        let preflight = format!(
            "OPTIONS {} HTTP/1.1\r\nhost: {address}\r\norigin: https://page.test\r\n\
             access-control-request-method: GET\r\n\r\n",
            path_of(address, &path)
        );
        let flood = join_all((0..80).map(async |_| raw(address, preflight.repeat(20)).await)).await;
        // The requests of the key's owner have their places.
        let reads = join_all((0..10).map(async |_| client.get(FILES, "o").await.status));
        assert_eq!(reads.await, [200; 10]);
        drop(flood);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_never_completed() {
    attacked(async |_, client| {
        let mut refused = client.begin(FILES, "x", &[]).await;
        let mut begun = 0;
        while refused.status == 200 {
            begun += 1;
            assert!(begun <= 1000, "{}", refused.text());
            refused = client.begin(FILES, "x", &[]).await;
        }
        assert_eq!((begun, code(&refused)), (1000, (400, "InvalidRequest".into())));
        let text = "the bucket has 1000 uploads: complete or abort some";
        assert!(refused.text().contains(text), "{}", refused.text());
    })
    .await;
}

/// A part has a file of its own, so each is charged with a block at least.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_one_byte_without_end() {
    attacked(async |_, client| {
        let id = upload_id(&client.begin(FILES, "x", &[]).await);
        let upload = (FILES, "x", &*id);
        let mut number = 0;
        let full = loop {
            number += 1;
            let part = client.part(upload, number, b"x").await;
            if part.status != 200 {
                break part;
            }
        };
        assert_eq!(code(&full), (507, "InsufficientStorage".into()));
        assert!(u64::from(number) <= (2 << 20) / 4096, "{number} parts");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read() {
    attacked(async |host, client| {
        let large = vec![b'x'; 1 << 20];
        assert_eq!(client.put(FILES, "large", &large).await.status, 200);
        let get = head(client, "GET", &client.get_url(FILES, "large"), 0);
        let mut readers = Vec::new();
        for _ in 0..70 {
            let mut reader = Raw::connect(client.address).await;
            reader.write(&get).await;
            readers.push(reader);
        }
        // The host gives them up, and the tenant has its places again.
        host.until("lacewing_s3_connections_open", |open| open == 0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_without_signatures() {
    attacked(async |host, client| {
        let lines = host.said().lines().count();
        let url = format!("http://{}/{FILES}/o", client.address);
        let floods = (0..50).map(async |_| {
            for _ in 0..20 {
                let reply = send(client.address, Method::GET, &url, &[], b"").await;
                assert_eq!(code(&reply), (403, "AccessDenied".into()));
            }
        });
        join_all(floods).await;
        assert!(host.figure("lacewing_s3_requests_refused_total").await >= 1000);
        // Clients do not fill the log.
        assert!(host.said().lines().count() - lines < 900, "{}", host.said());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_a_tenant_may_have() {
    attacked(async |_, client| {
        let put = head(client, "PUT", &client.put_url(FILES, "slow"), 1000);
        let mut begun = Vec::new();
        for _ in 0..80 {
            begun.push(raw(client.address, &put).await);
        }
        let replies = join_all(begun.into_iter().map(rest)).await;
        let told = |code: &str| {
            let code = format!("<Code>{code}</Code>");
            replies.iter().filter(|reply| reply.contains(&code)).count()
        };
        let (refused, late) = (told("SlowDown"), told("RequestTimeout"));
        assert!(refused > 0 && refused + late == 80, "{refused} and {late} of {replies:?}");
        let until = Instant::now() + PATIENCE;
        while client.get(FILES, "o").await.status != 200 {
            assert!(Instant::now() < until, "the tenant has no place again");
            pause().await;
        }
    })
    .await;
}

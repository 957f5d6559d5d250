//! Clients for measuring: each keeps one connection, and says how each request was answered and
//! after how long.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Buf, BytesMut};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

/// One connection, made again when the server closes it. It shares the cores with the server, so it
/// costs little: a system call to ask, and one to hear.
pub struct Client {
    address: SocketAddr,
    socket: Option<TcpStream>,
    head: Vec<u8>,
    received: BytesMut,
}

/// The size of one read.
const READ: usize = 4096;
/// The most header fields of an answer.
const FIELDS: usize = 32;

impl Client {
    /// For GETs of one path under one host name.
    pub fn new(address: SocketAddr, host: &str, path: &str) -> Client {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
        Client { address, socket: None, head, received: BytesMut::new() }
    }

    /// Asks for another path from now on.
    pub fn set_path(&mut self, host: &str, path: &str) {
        self.head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
    }

    /// Connects, if it is not connected.
    ///
    /// # Errors
    /// The server does not accept.
    pub async fn connect(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = TcpStream::connect(self.address).await?;
            socket.set_nodelay(true)?;
            self.socket = Some(socket);
        }
        Ok(())
    }

    /// One request; gives the status of its answer. A connection that fails is made again for the
    /// next. One that the server has closed while it was idle is no failure: the request is
    /// made again on a new one, as HTTP's clients do (RFC 9112, section 9.3.1).
    ///
    /// # Errors
    /// No whole answer came.
    pub async fn ask(&mut self) -> io::Result<u16> {
        let was_idle = self.socket.is_some();
        let mut answered = self.exchange().await;
        if was_idle && answered.as_ref().is_err_and(|error| is_closed(error.kind())) {
            self.socket = None;
            answered = self.exchange().await;
        }
        match answered {
            Ok((status, true)) => Ok(status),
            Ok((status, false)) => {
                self.socket = None;
                Ok(status)
            }
            Err(error) => {
                self.socket = None;
                Err(error)
            }
        }
    }

    /// One request; gives the status and the body of its answer, which has a length. The request is
    /// made once.
    ///
    /// # Errors
    /// No whole answer came.
    pub async fn ask_text(&mut self) -> io::Result<(u16, String)> {
        let answer = self.send().await?;
        let Client { socket: Some(socket), received, .. } = self else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        while received.len() < answer.bytes {
            read(socket, received).await?;
        }
        let body = received.get(answer.head_bytes..answer.bytes).unwrap_or_default();
        let body = String::from_utf8_lossy(body).into_owned();
        if !answer.is_kept {
            self.socket = None;
        }
        Ok((answer.status, body))
    }

    /// The status, and whether the connection is kept.
    async fn exchange(&mut self) -> io::Result<(u16, bool)> {
        let answer = self.send().await?;
        let Client { socket: Some(socket), received, .. } = self else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        skip(socket, received, answer.bytes).await?;
        if answer.is_chunked {
            skip_chunks(socket, received).await?;
        }
        Ok((answer.status, answer.is_kept))
    }

    /// Sends the request, and reads the head of the answer.
    async fn send(&mut self) -> io::Result<Head> {
        self.connect().await?;
        let Client { socket: Some(socket), head, received, .. } = self else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        received.clear();
        socket.write_all(head).await?;
        loop {
            read(socket, received).await?;
            if let Some(answer) = Head::parse(received)? {
                return Ok(answer);
            }
        }
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    /// Its own length.
    head_bytes: usize,
    /// Its own length and, unless it is chunked, that of the body.
    bytes: usize,
    is_chunked: bool,
    is_kept: bool,
}

impl Head {
    /// None: it is not there as a whole.
    fn parse(received: &[u8]) -> io::Result<Option<Head>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(mut bytes) =
            response.parse(received).map_err(io::Error::other)?
        else {
            return Ok(None);
        };
        let head_bytes = bytes;
        let (mut is_chunked, mut is_kept) = (false, true);
        for field in &*response.headers {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                let length =
                    str::from_utf8(field.value).ok().and_then(|text| text.parse::<usize>().ok());
                bytes += length.ok_or(io::ErrorKind::InvalidData)?;
            } else if is("connection") {
                is_kept = !field.value.eq_ignore_ascii_case(b"close");
            } else if is("transfer-encoding") {
                is_chunked = field.value.eq_ignore_ascii_case(b"chunked");
            }
        }
        Ok(Some(Head {
            status: response.code.unwrap_or(0),
            head_bytes,
            bytes,
            is_chunked,
            is_kept,
        }))
    }
}

async fn read(socket: &mut TcpStream, received: &mut BytesMut) -> io::Result<()> {
    received.reserve(READ);
    match socket.read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn skip(socket: &mut TcpStream, received: &mut BytesMut, mut bytes: usize) -> io::Result<()> {
    loop {
        let here = bytes.min(received.len());
        received.advance(here);
        bytes -= here;
        if bytes == 0 {
            return Ok(());
        }
        read(socket, received).await?;
    }
}

async fn skip_chunks(socket: &mut TcpStream, received: &mut BytesMut) -> io::Result<()> {
    loop {
        let size = chunk_size(socket, received).await?;
        // No server that is measured has trailers.
        skip(socket, received, size + 2).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

async fn chunk_size(socket: &mut TcpStream, received: &mut BytesMut) -> io::Result<usize> {
    loop {
        match httparse::parse_chunk_size(received) {
            Ok(httparse::Status::Complete((line, size))) => {
                received.advance(line);
                return usize::try_from(size).map_err(io::Error::other);
            }
            Ok(httparse::Status::Partial) => read(socket, received).await?,
            Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// Whether that is how a connection fails which the other side has closed.
fn is_closed(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The results of many requests.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// By status: 0 is none.
    times: BTreeMap<u16, Vec<Duration>>,
}

/// Of the answers with one status.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// How many there are.
    pub count: usize,
    /// Milliseconds.
    pub p50_ms: f64,
    /// Milliseconds.
    pub p99_ms: f64,
    /// Milliseconds.
    pub max_ms: f64,
}

impl Answers {
    /// Adds one.
    pub fn add(&mut self, answer: &io::Result<u16>, took: Duration) {
        let status = *answer.as_ref().unwrap_or(&0);
        self.times.entry(status).or_default().push(took);
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Answers) {
        for (status, times) in other.times {
            self.times.entry(status).or_default().extend(times);
        }
    }

    /// How many there are with a status.
    pub fn count(&self, status: u16) -> usize {
        self.times.get(&status).map_or(0, Vec::len)
    }

    /// How many there are.
    pub fn total(&self) -> usize {
        self.times.values().map(Vec::len).sum()
    }

    /// By status, `none` for those without an answer.
    pub fn by_status(&self) -> BTreeMap<String, Times> {
        let name = |status: u16| if status == 0 { "none".to_owned() } else { status.to_string() };
        self.times.iter().map(|(status, times)| (name(*status), Times::of(times))).collect()
    }

    /// Of those with one of some statuses.
    pub fn of(&self, statuses: &[u16]) -> Times {
        let times = statuses.iter().filter_map(|status| self.times.get(status));
        Times::of(&times.flatten().copied().collect::<Vec<_>>())
    }
}

impl Times {
    fn of(times: &[Duration]) -> Times {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        let at = |of: f64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss
            )]
            let index = (sorted.len() as f64 * of) as usize;
            let time = sorted.get(index.min(sorted.len().saturating_sub(1)));
            time.map_or(0.0, |time| (time.as_secs_f64() * 1e5).round() / 100.0)
        };
        Times { count: sorted.len(), p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) }
    }
}

/// Asks again and again on one connection until a moment has come.
pub async fn ask_until(mut client: Client, until: Instant) -> Answers {
    let mut answers = Answers::default();
    while Instant::now() < until {
        let before = Instant::now();
        let answer = client.ask().await;
        answers.add(&answer, before.elapsed());
        if answer.is_err() {
            // A server that refuses connections is not to be asked in a tight loop.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    answers
}

/// Asks for `/` of a host on a schedule, until the time is over: each request has a connection to
/// itself while it is under way, and counts from when it was due.
///
/// # Errors
/// The server does not accept at the beginning.
///
/// # Panics
/// If an answer went missing: that is a mistake of this function's.
pub fn steadily(address: SocketAddr, host: &str, rate: u32, time: Duration) -> io::Result<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut idle: Vec<Client> = Vec::new();
        for _ in 0..8 {
            let mut client = Client::new(address, host, "/");
            client.connect().await?;
            idle.push(client);
        }
        let (done, mut answered) = mpsc::unbounded_channel();
        let (mut answers, start, mut sent) = (Answers::default(), Instant::now(), 0_u32);
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        while start.elapsed() < time {
            let due = ticks.tick().await.into_std();
            while let Ok((client, answer, took)) = answered.try_recv() {
                let _: &io::Result<u16> = &answer;
                answers.add(&answer, took);
                idle.push(client);
            }
            let mut client = idle.pop().unwrap_or_else(|| Client::new(address, host, "/"));
            let done = done.clone();
            sent += 1;
            tokio::spawn(async move {
                let answer = client.ask().await;
                let _ = done.send((client, answer, due.elapsed()));
            });
        }
        drop(done);
        while let Some((_, answer, took)) = answered.recv().await {
            answers.add(&answer, took);
        }
        assert_eq!(answers.total(), sent as usize);
        Ok(answers)
    })
}

/// The body of a GET, on a connection of its own.
///
/// # Errors
/// No answer came.
pub fn get(address: SocketAddr, host: &str, path: &str) -> io::Result<String> {
    let mut socket = std::net::TcpStream::connect(address)?;
    io::Write::write_all(
        &mut socket,
        format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes(),
    )?;
    let text = io::read_to_string(socket)?;
    Ok(text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

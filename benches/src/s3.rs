//! A client of an S3 API for measuring: one connection, and presigned requests.

use std::{io, net::SocketAddr, path::Path, process::Command, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use tokio::net::TcpStream;

/// The time for which a signature is valid.
pub const TIME: Duration = Duration::from_secs(3600);

/// The region that the signatures name.
const REGION: &str = "us-east-1";

/// Makes an access key for the buckets of a host file's tenant.
///
/// # Errors
/// The program cannot be started, or refuses.
pub fn create_key(lacewing: &Path, file: &Path, tenant: &str) -> io::Result<Credentials> {
    let mut command = Command::new(lacewing);
    command.args(["s3", "create-key", "--tenant", tenant, "--host"]).arg(file);
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let (Some(id), Some(secret)) = (value("access key:"), value("secret key:")) else {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("no access key: {error}")));
    };
    Ok(Credentials::new(id, secret))
}

/// A client that uses one bucket.
pub struct S3Client {
    address: SocketAddr,
    /// The bucket, for requests to sign.
    pub bucket: Bucket,
    /// The access key.
    pub key: Credentials,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// An answer with its whole body.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub fields: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl S3Client {
    /// A client that is not connected.
    ///
    /// # Errors
    /// The name is none of a bucket.
    pub fn new(address: SocketAddr, bucket: &str, key: &Credentials) -> anyhow::Result<S3Client> {
        let url = format!("http://{address}").parse()?;
        let bucket = Bucket::new(url, UrlStyle::Path, bucket.to_owned(), REGION)?;
        Ok(S3Client { address, bucket, key: key.clone(), connection: None })
    }

    /// Puts an object.
    ///
    /// # Errors
    /// No whole answer came.
    pub async fn put(&mut self, object: &str, body: Bytes) -> io::Result<Answer> {
        let url = self.bucket.put_object(Some(&self.key), object).sign(TIME);
        self.send(Method::PUT, url.as_str(), body).await
    }

    /// Gets an object.
    ///
    /// # Errors
    /// No whole answer came.
    pub async fn get(&mut self, object: &str) -> io::Result<Answer> {
        let url = self.bucket.get_object(Some(&self.key), object).sign(TIME);
        self.send(Method::GET, url.as_str(), Bytes::new()).await
    }

    /// Sends a request with a presigned URL.
    ///
    /// # Errors
    /// No whole answer came. The next request has a connection of its own then.
    pub async fn send(&mut self, method: Method, url: &str, body: Bytes) -> io::Result<Answer> {
        let uri: Uri = url.parse().map_err(io::Error::other)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::builder().method(method).uri(path);
        let request = request.header("host", self.address.to_string()).body(Full::new(body));
        let request = request.map_err(io::Error::other)?;
        let mut connection = match self.connection.take().filter(|open| !open.is_closed()) {
            Some(open) => open,
            None => connect(self.address).await?,
        };
        connection.ready().await.map_err(io::Error::other)?;
        let response = connection.send_request(request).await.map_err(io::Error::other)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        self.connection = Some(connection);
        Ok(Answer { status: head.status.as_u16(), fields: head.headers, body })
    }
}

async fn connect(address: SocketAddr) -> io::Result<SendRequest<Full<Bytes>>> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    // The connection ends with its sender.
    tokio::spawn(connection);
    Ok(sender)
}

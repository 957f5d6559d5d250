//! A client of the API, for commands that work with the state of a running host.

mod exchange;
mod objects;

use std::{error::Error, io, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{runtime::Runtime, time::timeout};

use self::exchange::{PATIENCE, collected, exchange};
pub use self::objects::next_of;
use super::{
    credential,
    documents::{Backup, BackupOrder, Check, KeyPage, Problem, StorePage, TenantPage},
    target::escaped,
};

/// Why a request of a client was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No host says how it is reached.
    #[error(
        "the state directory {dir} is in use by another process without an admin listener: if it is a host, start it with `--admin ADDRESS`, or stop it"
    )]
    NoListener {
        /// The directory.
        dir: String,
    },
    /// The file with the credential cannot be read.
    #[error("the credential of the host, in {file}, cannot be read: {error}")]
    Credential {
        /// The file.
        file: String,
        /// The error.
        #[source]
        error: io::Error,
    },
    /// The address is none of a listener.
    #[error(
        "{url:?} is no address of an admin listener, which is as in `http://127.0.0.1:9180`: reach a host over TLS through a tunnel, such as `ssh -L`"
    )]
    Url {
        /// The text.
        url: String,
    },
    /// The host cannot be reached, or did not answer.
    #[error("the host at {address} does not answer: {error}")]
    Unreachable {
        /// Its address.
        address: String,
        /// The error.
        #[source]
        error: io::Error,
    },
    /// The content of the request cannot be read.
    #[error("the content cannot be read: {error}")]
    Content {
        /// The error.
        error: String,
    },
    /// The host refused the request.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The answer is none of this API.
    #[error("{address} answers with something else than the API of a host: {what}")]
    Foreign {
        /// The address.
        address: String,
        /// The difference.
        what: String,
    },
}

impl ClientError {
    /// Whether the host says that a thing is not there.
    fn is_not_found(&self) -> bool {
        matches!(self, ClientError::Refused(problem) if problem.status == 404)
    }
}

/// A client of one host. Each request has a connection of its own.
#[derive(Debug)]
pub struct AdminClient {
    /// Host and port.
    address: String,
    token: String,
    runtime: Runtime,
}

impl AdminClient {
    /// A client of the host that has a state directory open.
    ///
    /// # Errors
    /// The host has no admin listener, or its file cannot be read.
    pub fn of_directory(dir: &Path) -> Result<AdminClient, ClientError> {
        let file = dir.join(credential::FILE).display().to_string();
        let found = credential::read(dir)
            .map_err(|error| ClientError::Credential { file: file.clone(), error })?;
        let found =
            found.ok_or_else(|| ClientError::NoListener { dir: dir.display().to_string() })?;
        AdminClient::new(found.address.to_string(), found.token)
    }

    /// A client of the host at a URL, with its token.
    ///
    /// # Errors
    /// The URL is none of a listener.
    pub fn at(url: &str, token: &str) -> Result<AdminClient, ClientError> {
        let wrong = || ClientError::Url { url: url.to_owned() };
        let address = url.strip_prefix("http://").ok_or_else(wrong)?;
        let address = address.strip_suffix('/').unwrap_or(address);
        let with_port = match address.parse::<SocketAddr>() {
            Ok(_) => address.to_owned(),
            Err(_) => match address.rsplit_once(':') {
                Some((_, port)) if port.parse::<u16>().is_ok() => address.to_owned(),
                _ => format!("{address}:80"),
            },
        };
        let is_address = |c: char| c.is_ascii_alphanumeric() || ".:-[]".contains(c);
        if address.is_empty() || !address.chars().all(is_address) {
            return Err(wrong());
        }
        AdminClient::new(with_port, token.to_owned())
    }

    fn new(address: String, token: String) -> Result<AdminClient, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime
            .map_err(|error| ClientError::Unreachable { address: address.clone(), error })?;
        Ok(AdminClient { address, token, runtime })
    }

    /// A page of the tenants that have state.
    ///
    /// # Errors
    /// The host does not answer, or refuses. So it is with all other requests.
    pub fn tenants(&self, after: Option<&str>) -> Result<TenantPage, ClientError> {
        self.read(&format!("/v1/tenants?limit=1000{}", following(after)))
    }

    /// A page of a tenant's key-value stores.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn stores(&self, tenant: &str, after: Option<&str>) -> Result<StorePage, ClientError> {
        self.read(&format!("/v1/tenants/{}/kv?limit=1000{}", escaped(tenant), following(after)))
    }

    /// A page of the keys of a store, which is named as in `shop/users`.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn keys(
        &self,
        (tenant, store): (&str, &str),
        prefix: &str,
        after: Option<&str>,
    ) -> Result<KeyPage, ClientError> {
        let path = keys_path(tenant, store);
        self.read(&format!("{path}?limit=1000&prefix={}{}", escaped(prefix), following(after)))
    }

    /// The value of a key; `None` if there is no entry.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn get(
        &self,
        (tenant, store): (&str, &str),
        key: &str,
    ) -> Result<Option<Bytes>, ClientError> {
        let keys = keys_path(tenant, store);
        let path = format!("{keys}/{}", escaped(key));
        let value = self.send(Method::GET, &path, None, Some(PATIENCE)).map(Response::into_body);
        self.some_if_there(&keys, value)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn set(
        &self,
        (tenant, store): (&str, &str),
        key: &str,
        value: Vec<u8>,
        expires_in_s: Option<u64>,
    ) -> Result<(), ClientError> {
        let query = expires_in_s.map(|seconds| format!("?expires_in_s={seconds}"));
        let path =
            format!("{}/{}{}", keys_path(tenant, store), escaped(key), query.unwrap_or_default());
        let content = (HeaderValue::from_static("application/octet-stream"), value);
        self.send(Method::PUT, &path, Some(content), Some(PATIENCE)).map(drop)
    }

    /// Deletes the entry of a key. False: there is none.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn delete(&self, (tenant, store): (&str, &str), key: &str) -> Result<bool, ClientError> {
        self.delete_from(&keys_path(tenant, store), key)
    }

    /// Deletes what a key has in a list. False: there is nothing.
    fn delete_from(&self, list: &str, key: &str) -> Result<bool, ClientError> {
        let path = format!("{list}/{}", escaped(key));
        let deleted = self.send(Method::DELETE, &path, None, Some(PATIENCE));
        Ok(self.some_if_there(list, deleted)?.is_some())
    }

    /// What was found; `None` if there is nothing in the list. That the list is not there either is
    /// an error.
    fn some_if_there<T>(
        &self,
        list: &str,
        found: Result<T, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => {
                match self.read::<serde_json::Value>(&format!("{list}?limit=1")) {
                    Ok(_) => Ok(None),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Has the host check a tenant's state. Comes when it is read.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn check(&self, tenant: &str) -> Result<Check, ClientError> {
        let path = format!("/v1/tenants/{}/checks", escaped(tenant));
        self.document(self.send(Method::POST, &path, None, None)?)
    }

    /// Has the host copy its state. Comes when the copy is complete.
    ///
    /// # Errors
    /// As [`AdminClient::tenants`].
    pub fn back_up(&self, order: &BackupOrder) -> Result<Backup, ClientError> {
        let response = self.send(Method::POST, "/v1/backups", Some(json(order)), None)?;
        self.document(response)
    }

    fn read<T: DeserializeOwned>(&self, target: &str) -> Result<T, ClientError> {
        self.document(self.send(Method::GET, target, None, Some(PATIENCE))?)
    }

    fn document<T: DeserializeOwned>(&self, response: Response<Bytes>) -> Result<T, ClientError> {
        serde_json::from_slice(response.body()).map_err(|error| self.foreign(error))
    }

    fn foreign(&self, what: impl ToString) -> ClientError {
        ClientError::Foreign { address: self.address.clone(), what: what.to_string() }
    }

    /// Sends a request, and gives the answer that does as asked.
    fn send(
        &self,
        method: Method,
        target: &str,
        content: Option<(HeaderValue, Vec<u8>)>,
        patience: Option<Duration>,
    ) -> Result<Response<Bytes>, ClientError> {
        let request = self.request(method, target);
        let request = match content {
            Some((kind, content)) => {
                request.header(header::CONTENT_TYPE, kind).body(Full::new(Bytes::from(content)))
            }
            None => request.body(Full::default()),
        };
        let response = self.exchanged(request, patience, collected)?;
        self.done(response)
    }

    /// The head of a request.
    fn request(&self, method: Method, target: &str) -> request::Builder {
        Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, &self.address)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    /// Sends a request, and gives what `read` makes of the response.
    fn exchanged<B, T>(
        &self,
        request: http::Result<Request<B>>,
        patience: Option<Duration>,
        read: impl AsyncFnOnce(Response<Incoming>) -> io::Result<T>,
    ) -> Result<T, ClientError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
    {
        let request = request.map_err(|error| self.foreign(error))?;
        let exchange = exchange(&self.address, request, read);
        let exchanged = self.runtime.block_on(async {
            match patience {
                Some(patience) => timeout(patience, exchange).await.unwrap_or_else(|_| {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in 30 s"))
                }),
                None => exchange.await,
            }
        });
        exchanged.map_err(|error| ClientError::Unreachable { address: self.address.clone(), error })
    }

    /// The response, if the host has done as asked.
    fn done(&self, response: Response<Bytes>) -> Result<Response<Bytes>, ClientError> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: Problem = serde_json::from_slice(response.body())
            .map_err(|_| self.foreign(format!("the status {status} without a problem document")))?;
        if status == StatusCode::UNAUTHORIZED {
            let detail = format!("the host at {} does not take the token", self.address);
            return Err(ClientError::Refused(Problem { detail, ..problem }));
        }
        Err(ClientError::Refused(problem))
    }
}

fn keys_path(tenant: &str, store: &str) -> String {
    let (app, name) = store.split_once('/').unwrap_or(("", store));
    format!("/v1/tenants/{}/kv/{}/{}/keys", escaped(tenant), escaped(app), escaped(name))
}

fn following(after: Option<&str>) -> String {
    after.map(|after| format!("&after={}", escaped(after))).unwrap_or_default()
}

fn json(document: &impl Serialize) -> (HeaderValue, Vec<u8>) {
    // Infallible: texts.
    let text = serde_json::to_vec(document).unwrap_or_default();
    (HeaderValue::from_static("application/json"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_http() {
        let address = |url: &str| AdminClient::at(url, "t").map(|client| client.address);
        for (url, expected) in [
            ("http://127.0.0.1:9180", "127.0.0.1:9180"),
            ("http://127.0.0.1:9180/", "127.0.0.1:9180"),
            ("http://[::1]:9180", "[::1]:9180"),
            ("http://edge-7.internal", "edge-7.internal:80"),
        ] {
            assert_eq!(address(url).unwrap(), expected);
        }
        for url in ["", "127.0.0.1:9180", "https://a:1", "http://", "http://a/b", "http://a@b:1"] {
            let error = address(url).unwrap_err().to_string();
            assert!(error.contains("is no address of an admin listener"), "{url}: {error}");
        }
    }

    #[test]
    fn a_host_that_is_not_there_is_named() {
        let client = AdminClient::at("http://127.0.0.1:1", "t").unwrap();
        let error = client.tenants(None).unwrap_err().to_string();
        assert!(error.starts_with("the host at 127.0.0.1:1 does not answer: "), "{error}");
    }
}

//! The other server, in tests.

use std::cell::RefCell;
use std::fmt;

use crate::{Error, Request, Response, Result};

type Server = Box<dyn FnMut(Request) -> Response>;

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

/// Answers what is sent with [`client`](crate::client) on this thread, until the result is dropped.
///
/// ```
/// use lacewing_sdk::{client, http, test};
///
/// let _upstream = test::upstream(|request| {
///     http::Response::new(format!("you asked for {}", request.uri().path()).into())
/// });
/// let response = client::fetch("http://localhost/page").unwrap();
/// assert_eq!(response.into_body().into_bytes().unwrap(), "you asked for /page");
/// ```
#[must_use = "it answers until it is dropped"]
pub fn upstream(server: impl FnMut(Request) -> Response + 'static) -> Upstream {
    SERVER.set(Some(Box::new(server)));
    Upstream { _private: () }
}

/// Keeps an [`upstream`] in place.
pub struct Upstream {
    _private: (),
}

impl Drop for Upstream {
    fn drop(&mut self) {
        SERVER.set(None);
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream")
    }
}

/// The calls that stand for the host's.
pub(crate) fn send(request: Request) -> Result<Response> {
    SERVER.with_borrow_mut(|server| match server {
        Some(server) => Ok(server(request)),
        None => {
            Err(Error::bad_gateway("there is no `lacewing_sdk::test::upstream` to answer this"))
        }
    })
}

//! The query string.

use serde::de::DeserializeOwned;

use super::{FromRequest, Incoming, pairs};
use crate::{Error, Result};

/// The query string, as a struct or a map.
///
/// A field that is an `Option`, or has a `#[serde(default)]`, may be absent; one that is a `Vec`
/// takes every occurrence of its key. A value that does not fit is a 400 that names the key.
///
/// ```
/// use lacewing_sdk::{Query, test};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Page { page: u32, per_page: Option<u32> }
///
/// #[lacewing_sdk::http]
/// fn list(Query(query): Query<Page>) -> String {
///     format!("page {} of {}", query.page, query.per_page.unwrap_or(20))
/// }
///
/// assert_eq!(test::get("/users?page=2").call(list).text(), "page 2 of 20");
/// let problem = test::get("/users?page=two").call(list).json::<serde_json::Value>();
/// assert_eq!(problem["detail"], "query key `page`: expected a whole number from 0 to 4294967295, got `two`");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    fn from_request(request: &mut Incoming) -> Result<Query<T>> {
        let pairs: Vec<_> = form_urlencoded::parse(request.query().as_bytes()).collect();
        pairs::from_query(&pairs).map(Query).map_err(|wrong| {
            let error = match &wrong.key {
                Some(key) => Error::bad_request(format_args!("query key `{key}`: {}", wrong.what)),
                None => Error::bad_request(format_args!("query: {}", wrong.what)),
            };
            error.with_member("in", "query").with_member("name", wrong.key)
        })
    }
}

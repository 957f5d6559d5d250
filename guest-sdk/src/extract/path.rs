//! The parts of a path that the route's pattern captured.

use serde::de::DeserializeOwned;

use super::{FromRequest, Incoming, pairs};
use crate::{Error, Result};

/// The parameters of the route: `{id}` in `/users/{id}`.
///
/// A pattern with one parameter fits a single value; a tuple takes them in the order of the
/// pattern; a struct or a map takes them by name. A value that does not fit is a 400 that names the
/// parameter.
///
/// ```
/// use lacewing_sdk::{Path, test};
///
/// #[lacewing_sdk::http]
/// fn file(Path((user, file)): Path<(u32, String)>) -> String {
///     format!("{file} of user {user}")
/// }
///
/// let request = test::get("/users/7/files/notes").param("user", "7").param("file", "notes");
/// assert_eq!(request.call(file).text(), "notes of user 7");
///
/// let response = test::get("/users/me/files/notes").param("user", "me").param("file", "notes").call(file);
/// assert_eq!(response.status(), 400);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Path<T> {
    fn from_request(request: &mut Incoming) -> Result<Path<T>> {
        pairs::from_path(&request.route().params).map(Path).map_err(|wrong| {
            let error = match &wrong.key {
                Some(key) => {
                    Error::bad_request(format_args!("path parameter `{key}`: {}", wrong.what))
                }
                None => Error::msg(format_args!(
                    "`Path` does not fit the parameters of the route `{}`: {}",
                    request.route().pattern,
                    wrong.what
                )),
            };
            error.with_member("in", "path").with_member("name", wrong.key)
        })
    }
}

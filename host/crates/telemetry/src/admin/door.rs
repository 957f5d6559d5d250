//! The requests that the admin address answers: those of a client that meant this host, and that is
//! no other site's page.
//!
//! The pages have no password, so what keeps strangers out is where the listener is. A browser on
//! the same machine, or in the same network, reaches it for every page that the browser shows. Such
//! a page can have its own name resolve to this address (DNS rebinding) and then reads what comes
//! back; but the request names the page's host. And a request that a page makes to another site
//! says so (Fetch Metadata, <https://www.w3.org/TR/fetch-metadata/>).

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Request, StatusCode, Version, header, uri::Authority};
use http_body::Body;

use crate::shortened;

/// The part of a host name that is shown, in bytes: as much as a host name has.
const SHOWN_BYTES: usize = 253;

/// Why a request is not answered with what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DoorRefusal {
    pub(super) status: StatusCode,
    pub(super) detail: String,
}

fn refuse(status: StatusCode, detail: impl Into<String>) -> Result<(), DoorRefusal> {
    Err(DoorRefusal { status, detail: detail.into() })
}

/// Looks at a request's head. `names` are the host names that are answered besides addresses and
/// `localhost`, in lower case.
pub(super) fn admits<B>(request: &Request<B>, names: &[String]) -> Result<(), DoorRefusal> {
    check_host(request, names)?;
    check_page(request.headers())
}

/// Looks at a request for a page, which needs no content.
pub(super) fn takes_no_content<B: Body>(request: &Request<B>) -> Result<(), DoorRefusal> {
    if !request.body().is_end_stream() {
        let detail = "the admin address takes no content: send the request without a body";
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, detail);
    }
    Ok(())
}

/// The host that a request is for: what its target names and what its `Host` names, of which RFC
/// 9112, section 3.2, demands one.
fn check_host<B>(request: &Request<B>, names: &[String]) -> Result<(), DoorRefusal> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (field, more) = (fields.next(), fields.next());
    if more.is_some() {
        return refuse(StatusCode::BAD_REQUEST, "the request has several Host fields: send one");
    }
    if field.is_none() && request.version() > Version::HTTP_10 {
        let detail = "the request has no Host field, which HTTP/1.1 demands";
        return refuse(StatusCode::BAD_REQUEST, detail);
    }
    let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let field = field.map(HeaderValue::as_bytes);
    match target.into_iter().chain(field).find(|host| !is_ours(host, names)) {
        Some(foreign) => {
            let foreign = shortened(String::from_utf8_lossy(foreign).into_owned(), SHOWN_BYTES);
            refuse(
                StatusCode::MISDIRECTED_REQUEST,
                format!(
                    "the request is for the host {foreign:?}, and the admin address answers under an IP address, `localhost`, and the names in `admin_hosts` of the host file only"
                ),
            )
        }
        None => Ok(()),
    }
}

/// Whether no page of another site can have this host in its address: no resolver is asked for an
/// address, and the names are the operator's.
fn is_ours(host: &[u8], names: &[String]) -> bool {
    let Ok(authority) = Authority::try_from(host) else { return false };
    let host = authority.host();
    // Nothing but a port beside it: no user before it, which is a way to look like another host,
    // and no more of a name.
    let rest = authority.as_str().strip_prefix(host);
    let is_port =
        |rest: &str| rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if !rest.is_some_and(|rest| rest.is_empty() || is_port(rest)) {
        return false;
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Requests of a page of another site, as the browser marks them. A person who follows a link is
/// let in: what comes is shown to that person, and not to the page with the link.
fn check_page(headers: &HeaderMap) -> Result<(), DoorRefusal> {
    let is = |field: &str, values: &[&str]| {
        headers.get(field).is_none_or(|found| values.iter().any(|value| found == value))
    };
    let own = is("sec-fetch-site", &["none", "same-origin"]);
    let shown = headers.contains_key("sec-fetch-dest") && is("sec-fetch-dest", &["document"]);
    // Browsers send it with what reads across sites, and with what has an effect.
    let crosses = headers.contains_key(header::ORIGIN);
    if crosses || !(own || shown) {
        let detail = "the request comes from a page of another site: open the address itself";
        return refuse(StatusCode::FORBIDDEN, detail);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    fn with(fields: &[(&str, &str)]) -> Result<(), DoorRefusal> {
        targeted("/metrics", fields)
    }

    fn targeted(target: &str, fields: &[(&str, &str)]) -> Result<(), DoorRefusal> {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let names = ["metrics.internal".to_owned()];
        admits(&request.body(Empty::<&[u8]>::new()).unwrap(), &names)
    }

    fn status(result: Result<(), DoorRefusal>) -> u16 {
        result.map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    #[test]
    fn addresses_and_names_of_the_operator_are_answered() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9180",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:9180",
            "[fe80::1]:1",
            "localhost",
            "LocalHost:9180",
            "localhost.",
            "metrics.internal",
            "Metrics.Internal:9180",
            "metrics.internal.:9180",
        ] {
            assert_eq!(with(&[("host", host)]), Ok(()), "{host}");
        }
    }

    #[test]
    fn other_names_are_misdirected() {
        for host in [
            "evil.test",
            "evil.test:9180",
            "127.0.0.1.evil.test",
            "127.0.0.1.",
            "127.1",
            "2130706433",
            "0x7f000001",
            "localhost.evil.test",
            "app.localhost",
            "notlocalhost",
            "metrics.internal.evil.test",
            "xmetrics.internal",
            "internal",
            "[::1].evil.test",
            "localhost@evil.test",
            "evil@localhost",
            "localhost,evil.test",
            "localhost..",
            "",
            ".",
            "*",
            " ",
        ] {
            assert_eq!(status(with(&[("host", host)])), 421, "{host:?}");
        }
        let refusal = with(&[("host", "evil.test:9180")]).unwrap_err();
        assert_eq!(
            refusal.detail,
            "the request is for the host \"evil.test:9180\", and the admin address answers under an IP address, `localhost`, and the names in `admin_hosts` of the host file only"
        );
        let long = with(&[("host", &"x".repeat(4000))]).unwrap_err();
        assert!(long.detail.len() < 500, "{}", long.detail.len());
    }

    #[test]
    fn a_target_with_a_host_counts_as_much_as_the_field() {
        let host = |host| [("host", host)];
        assert_eq!(targeted("http://localhost/metrics", &host("localhost")), Ok(()));
        assert_eq!(status(targeted("http://evil.test/metrics", &host("localhost"))), 421);
        assert_eq!(status(targeted("http://localhost/metrics", &host("evil.test"))), 421);
        assert_eq!(status(targeted("http://me@localhost/metrics", &host("localhost"))), 421);
    }

    #[test]
    fn one_host_field_is_demanded_of_those_that_know_of_it() {
        assert_eq!(status(with(&[])), 400);
        assert_eq!(status(with(&[("host", "localhost"), ("host", "localhost")])), 400);
        // A probe of old has none, and no browser is that old.
        let old = Request::builder().version(Version::HTTP_10).uri("/readyz");
        assert_eq!(admits(&old.body(Empty::<&[u8]>::new()).unwrap(), &[]), Ok(()));
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let page = |fields: &[(&str, &str)]| {
            status(with(&[&[("host", "localhost:9180")], fields].concat()))
        };
        assert_eq!(page(&[("sec-fetch-site", "none"), ("sec-fetch-dest", "document")]), 200);
        assert_eq!(page(&[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "empty")]), 200);
        for site in ["cross-site", "same-site", "", "anything"] {
            for kind in ["empty", "image", "script", "iframe", "object"] {
                let fields = [("sec-fetch-site", site), ("sec-fetch-dest", kind)];
                assert_eq!(page(&fields), 403, "{fields:?}");
            }
            assert_eq!(page(&[("sec-fetch-site", site)]), 403, "{site}");
            let followed = [("sec-fetch-site", site), ("sec-fetch-dest", "document")];
            assert_eq!(page(&followed), 200, "{site}");
        }
        for origin in ["http://evil.test", "null", "http://localhost:9180"] {
            assert_eq!(page(&[("origin", origin)]), 403, "{origin}");
        }
    }

    #[test]
    fn no_content_is_taken() {
        let request = Request::builder().uri("/metrics").header("host", "localhost");
        let request = request.body(Full::new(&b"x"[..])).unwrap();
        let refusal = takes_no_content(&request).unwrap_err();
        assert_eq!(refusal.status, 413);
    }
}

//! The part of a body that a request asks for: `Range` and `If-Range` (RFC 9110, section 14), with
//! one range of bytes.

use http::{HeaderMap, StatusCode, header};
use lacewing_store::object::ByteRange;

use super::operation::Refusal;

/// The first byte and the number of bytes that a request asks for, of a body of this tag and size.
/// `None`: it asks for all of it. Fields of another form ask for all, as RFC 9110 has it.
pub(super) fn asked(
    headers: &HeaderMap,
    tag: &str,
    size: u64,
) -> Result<Option<(u64, u64)>, Refusal> {
    let is_meant = headers.get(header::IF_RANGE).is_none_or(|one| one.as_bytes() == tag.as_bytes());
    let text = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let Some(range) = text.and_then(parse).filter(|_| is_meant) else { return Ok(None) };
    range.of(size).map(Some).ok_or_else(|| {
        let detail = format!("the object has {size} bytes, and none of them is in the range");
        Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, detail)
    })
}

fn parse(text: &str) -> Option<ByteRange> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('+'));
    match (first, last) {
        ("", last) => number(last).map(ByteRange::Last),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::Between(first, last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_taken() {
        let of = |range: &str, condition: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert("range", range.parse().unwrap());
            let condition = condition.map(|tag| (header::IF_RANGE, tag.parse().unwrap()));
            headers.extend(condition);
            asked(&headers, "\"t\"", 10).map_err(|refusal| refusal.status.as_u16())
        };
        for (range, part) in [
            ("bytes=0-0", Ok(Some((0, 1)))),
            ("bytes=2-", Ok(Some((2, 8)))),
            ("bytes=2-99", Ok(Some((2, 8)))),
            ("bytes=-3", Ok(Some((7, 3)))),
            ("bytes=10-", Err(416)),
            ("bytes=-0", Err(416)),
            ("bytes=4-2", Ok(None)),
            ("bytes=0-1,3-4", Ok(None)),
            ("bytes=+1-2", Ok(None)),
            ("bytes=-", Ok(None)),
            ("lines=1-2", Ok(None)),
        ] {
            assert_eq!(of(range, None), part, "{range}");
        }
        assert_eq!(of("bytes=2-", Some("\"t\"")), Ok(Some((2, 8))));
        for other in ["\"s\"", "W/\"t\"", "Mon, 30 Nov 2026 18:37:13 GMT"] {
            assert_eq!(of("bytes=2-", Some(other)), Ok(None), "{other}");
        }
        assert!(asked(&HeaderMap::new(), "\"t\"", 0).is_ok_and(|part| part.is_none()));
    }
}

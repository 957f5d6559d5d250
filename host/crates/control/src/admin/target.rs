//! The target of a request: segments of its path, and parameters of its query.
//!
//! A segment is decoded after the path was split, so `%2F` is a part of a name and no separator.
//! Nothing is normalised: `.` and `..` are names like others, and `//` has an empty segment.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The bytes that are escaped in a segment of a path, or in a query: all but the unreserved ones
/// (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A text as a segment of a path, or as a value in a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// A text without its escapes. `None`: it is not UTF-8 then.
fn unescaped(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

/// The parameters of a path that has the form of a template, in their order. `Some(None)`: the
/// path has the form, and a parameter is not UTF-8.
pub(super) fn matches(template: &str, path: &str) -> Option<Option<Vec<String>>> {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    let mut parameters = Some(Vec::new());
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return Some(parameters),
            (Some(wanted), Some(found)) if wanted.starts_with('{') => {
                parameters = parameters.zip(unescaped(found)).map(|(mut all, one)| {
                    all.push(one);
                    all
                });
            }
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return None,
        }
    }
}

/// The parameters of a query, or the reason for which it has none.
pub(super) fn query(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = |text: &str| {
            unescaped(&text.replace('+', " "))
                .ok_or_else(|| "the query is not UTF-8: escape each byte of UTF-8".to_owned())
        };
        let (name, value) = (decoded(name)?, decoded(value)?);
        if parameters.iter().any(|(known, _)| *known == name) {
            return Err(format!("the query has `{name}` twice: send it once"));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "/v1/tenants/{tenant}/kv/{app}/{store}/keys/{key}";

    fn key(path: &str) -> Option<Option<String>> {
        let found = matches(KEY, &format!("/v1/tenants/acme/kv/shop/users/keys/{path}"))?;
        Some(found.map(|mut parameters| parameters.remove(3)))
    }

    #[test]
    fn a_segment_is_decoded_after_the_split() {
        for (path, name) in [
            ("ada", "ada"),
            ("a%2Fb", "a/b"),
            ("a%2fb", "a/b"),
            ("%2e%2e", ".."),
            ("..", ".."),
            ("", ""),
            ("%00", "\0"),
            ("a+b", "a+b"),
            ("%25", "%"),
            ("%C3%A9", "é"),
            ("100%", "100%"),
        ] {
            assert_eq!(key(path), Some(Some(name.to_owned())), "{path}");
        }
        assert_eq!(key("%ff"), Some(None));
        assert_eq!(key("%C3"), Some(None));
        for path in ["a/b", "../../x", "/", "a/"] {
            assert_eq!(key(path), None, "{path}");
        }
        assert_eq!(matches("/v1/tenants", "/v1/tenants"), Some(Some(Vec::new())));
        assert_eq!(matches("/v1/tenants", "/v1/tenants/"), None);
        assert_eq!(matches("/v1/tenants", "/v1//tenants"), None);
        assert_eq!(matches("/v1/tenants/{tenant}/kv", "/v1/tenants/a/b/kv"), None);
    }

    #[test]
    fn a_query_is_decoded_or_refused() {
        let pairs = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Ok(pairs.iter().map(owned).collect::<Vec<_>>())
        };
        assert_eq!(query(""), pairs(&[]));
        assert_eq!(query("prefix=a%26b+c&limit=7"), pairs(&[("prefix", "a&b c"), ("limit", "7")]));
        assert_eq!(query("&limit&"), pairs(&[("limit", "")]));
        assert!(query("limit=1&limit=2").unwrap_err().contains("`limit` twice"));
        assert!(query("prefix=%ff").unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn an_escaped_text_comes_back() {
        let all: String =
            (0..=0x17f).filter_map(char::from_u32).chain("\u{10ffff}".chars()).collect();
        let text = escaped(&all);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{text}");
        assert_eq!(unescaped(&text), Some(all.clone()));
        assert_eq!(query(&format!("prefix={text}")).unwrap()[0].1, all);
        assert_eq!(key(&text), Some(Some(all)));
    }
}

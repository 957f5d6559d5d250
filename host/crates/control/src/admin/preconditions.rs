//! Conditions of a request on the entry or object that is there: `If-Match` and `If-None-Match`
//! (RFC 9110, section 13).

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::operation::Refusal;

/// The conditions of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

/// The tags of a field.
#[derive(Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: there is an entry.
    Any,
    /// One of these, each with whether it is weak.
    These(Vec<(bool, String)>),
}

/// The conditions against the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Do as asked.
    Holds,
    /// `If-Match` names another version, or there is no entry.
    NoMatch,
    /// `If-None-Match` names the version, or there is an entry.
    Match,
}

impl Preconditions {
    pub(super) fn of(headers: &HeaderMap) -> Result<Preconditions, Refusal> {
        Ok(Preconditions {
            if_match: read(headers, &header::IF_MATCH)?,
            if_none_match: read(headers, &header::IF_NONE_MATCH)?,
        })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    fn check(&self, found: Option<&str>) -> Verdict {
        let has = |tags: &Tags, weak_counts: bool| match tags {
            Tags::Any => found.is_some(),
            Tags::These(tags) => {
                tags.iter().any(|(is_weak, one)| (weak_counts || !is_weak) && Some(&**one) == found)
            }
        };
        if self.if_match.as_ref().is_some_and(|tags| !has(tags, false)) {
            return Verdict::NoMatch;
        }
        match &self.if_none_match {
            Some(tags) if has(tags, true) => Verdict::Match,
            _ => Verdict::Holds,
        }
    }

    /// Checks the conditions of a write on what has a tag, in its quotes.
    pub(super) fn demand(&self, what: &str, found: Option<&str>) -> Result<(), Refusal> {
        let detail = match (self.check(found), found) {
            (Verdict::Holds, _) => return Ok(()),
            (_, Some(tag)) => format!("the {what} has the tag {tag}"),
            (_, None) => format!("the key has no {what}"),
        };
        Err(Refusal::new(StatusCode::PRECONDITION_FAILED, detail))
    }

    /// Checks the conditions of a read. Returns whether the client has what is there.
    pub(super) fn are_of_unchanged(
        &self,
        what: &str,
        found: Option<&str>,
    ) -> Result<bool, Refusal> {
        match self.check(found) {
            Verdict::Match => Ok(true),
            Verdict::Holds | Verdict::NoMatch => self.demand(what, found).map(|()| false),
        }
    }
}

/// The tags of a field, over all its lines.
fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Refusal> {
    let mut lines = Vec::new();
    for line in headers.get_all(name) {
        lines.push(line.to_str().map_err(|_| malformed(name))?);
    }
    if lines.is_empty() {
        return Ok(None);
    }
    parse(&lines.join(",")).map(Some).ok_or_else(|| malformed(name))
}

fn malformed(name: &HeaderName) -> Refusal {
    let detail = format!("`{name}` is neither `*` nor a list of entity tags such as `\"17\"`");
    Refusal::new(StatusCode::BAD_REQUEST, detail)
}

/// The text of a field; `None` if it is none.
fn parse(text: &str) -> Option<Tags> {
    let mut rest = text.trim();
    if rest == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    while !rest.is_empty() {
        let (is_weak, tag) = match rest.strip_prefix("W/") {
            Some(tag) => (true, tag),
            None => (false, rest),
        };
        let end = tag.strip_prefix('"')?.find('"')? + 2;
        tags.push((is_weak, tag[..end].to_owned()));
        let after = tag[end..].trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return None,
        };
    }
    (!tags.is_empty()).then_some(Tags::These(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: Option<&str> = Some("\"7\"");

    fn of(fields: &[(&str, &str)]) -> Result<Preconditions, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, value.parse().unwrap());
        }
        Preconditions::of(&headers)
    }

    #[test]
    fn tags_are_compared_as_http_says() {
        use Verdict::{Holds, Match, NoMatch};
        for (fields, found, verdict) in [
            (&[][..], SEVEN, Holds),
            (&[("if-match", "\"7\"")], SEVEN, Holds),
            (&[("if-match", "\"7\"")], None, NoMatch),
            (&[("if-match", "\"8\"")], SEVEN, NoMatch),
            (&[("if-match", "W/\"7\"")], SEVEN, NoMatch),
            (&[("if-match", "\"8\", \"7\"")], SEVEN, Holds),
            (&[("if-match", "\"8\""), ("if-match", "\"7\"")], SEVEN, Holds),
            (&[("if-match", "*")], SEVEN, Holds),
            (&[("if-match", "*")], None, NoMatch),
            (&[("if-none-match", "*")], SEVEN, Match),
            (&[("if-none-match", "*")], None, Holds),
            (&[("if-none-match", "\"7\"")], SEVEN, Match),
            (&[("if-none-match", "W/\"7\"")], SEVEN, Match),
            (&[("if-none-match", "\"a,b\" , \"8\"")], SEVEN, Holds),
            (&[("if-match", "\"7\""), ("if-none-match", "\"7\"")], SEVEN, Match),
        ] {
            assert_eq!(of(fields).unwrap().check(found), verdict, "{fields:?} {found:?}");
        }
        assert!(of(&[]).unwrap().is_empty());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "7", "\"7", "\"7\" \"8\"", "*, \"7\"", "W/7", "\"", "w/\"7\"", ","] {
            let refusal = of(&[("if-match", text)]).unwrap_err();
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{text}");
            assert!(refusal.detail.contains("`if-match` is neither"), "{}", refusal.detail);
        }
    }

    #[test]
    fn a_refusal_names_the_tag_that_is_there() {
        let conditions = of(&[("if-match", "\"8\"")]).unwrap();
        let detail = |found| conditions.demand("entry", found).unwrap_err().detail;
        assert_eq!(detail(SEVEN), "the entry has the tag \"7\"");
        assert_eq!(detail(None), "the key has no entry");
        assert!(conditions.demand("entry", Some("\"8\"")).is_ok());
    }
}

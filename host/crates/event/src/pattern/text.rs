//! Tests of texts: without regard to case, and with wildcards.

use memchr::memmem::Finder;

/// A text that compares without regard to case: by the upper-case form of each character that has
/// one of a single character, in Unicode and without a locale. So `ß` is not `SS`.
#[derive(Clone, Debug)]
pub(super) struct Caseless(Box<str>);

fn upper(text: &str) -> impl DoubleEndedIterator<Item = char> {
    text.chars().map(|c| {
        let mut upper = c.to_uppercase();
        upper.next().filter(|_| upper.len() == 0).unwrap_or(c)
    })
}

impl Caseless {
    pub(super) fn new(text: &str) -> Caseless {
        Caseless(upper(text).collect())
    }

    pub(super) fn equals(&self, text: &str) -> bool {
        upper(text).eq(self.0.chars())
    }

    pub(super) fn begins(&self, text: &str) -> bool {
        let mut rest = upper(text);
        self.0.chars().all(|c| rest.next() == Some(c))
    }

    pub(super) fn ends(&self, text: &str) -> bool {
        let mut rest = upper(text).rev();
        self.0.chars().rev().all(|c| rest.next() == Some(c))
    }
}

/// A text in which a star stands for any text. The time of a test is linear in both texts: the
/// first place of a part between two stars is as good as any later one.
#[derive(Clone, Debug)]
pub(super) struct Wildcard {
    /// The text before the first star.
    head: Box<str>,
    /// The texts between two stars.
    parts: Vec<Finder<'static>>,
    /// The text behind the last star, if there is a star.
    tail: Option<Box<str>>,
}

impl Wildcard {
    /// A backslash stands before a star or a backslash that means itself.
    pub(super) fn parse(text: &str) -> Result<Wildcard, &'static str> {
        let mut parts = vec![String::new()];
        let mut after_star = false;
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let literal = match c {
                '*' if after_star => return Err("two stars in a row mean no more than one"),
                '*' => None,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '\\')) => Some(escaped),
                    _ => return Err("a backslash stands before `*` or another backslash only"),
                },
                c => Some(c),
            };
            after_star = literal.is_none();
            match (literal, parts.last_mut()) {
                (Some(c), Some(part)) => part.push(c),
                _ => parts.push(String::new()),
            }
        }
        let tail = if parts.len() > 1 { parts.pop() } else { None };
        let mut parts = parts.into_iter();
        Ok(Wildcard {
            head: parts.next().unwrap_or_default().into(),
            parts: parts.map(|part| Finder::new(&part).into_owned()).collect(),
            tail: tail.map(Into::into),
        })
    }

    /// The text that every match begins with.
    pub(super) fn head(&self) -> &str {
        &self.head
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(&*self.head) else { return false };
        let Some(tail) = &self.tail else { return rest.is_empty() };
        let Some(rest) = rest.strip_suffix(&**tail) else { return false };
        let mut rest = rest.as_bytes();
        self.parts.iter().all(|part| match part.find(rest) {
            Some(at) => {
                rest = &rest[at + part.needle().len()..];
                true
            }
            None => false,
        })
    }
}

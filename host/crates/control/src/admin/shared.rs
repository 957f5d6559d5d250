//! Parameters and answers that several resources have.

use lacewing_store::{kv::MAX_KEYS, object::MAX_OBJECT_KEY_BYTES};

use super::operation::{Call, Content, Parameter, ParameterKind, SchemaOf, Success};

/// The names of a page, unless `limit` says otherwise.
const PAGE: u64 = 100;

pub(super) const TENANT: Parameter = Parameter::path(
    "tenant",
    ParameterKind::Name,
    "The tenant; `local` for `up` without a host file.",
);

pub(super) const LIMIT: Parameter = Parameter::query(
    "limit",
    ParameterKind::Number { min: 1, max: MAX_KEYS as u64 },
    "The most names of a page. 100 by default.",
);

pub(super) const AFTER: Parameter = Parameter::query(
    "after",
    ParameterKind::Text { max: MAX_OBJECT_KEY_BYTES },
    "The `next` of the page before.",
);

pub(super) const IF_MATCH: Parameter = Parameter::header(
    "if-match",
    ParameterKind::Tags,
    "Entity tags, or `*`: 412 unless what is there has one of them.",
);

pub(super) const IF_NONE_MATCH: Parameter = Parameter::header(
    "if-none-match",
    ParameterKind::Tags,
    "Entity tags, or `*`: 412, or 304 of a read, if what is there has one of them.",
);

/// The description of `ETag` in the answer of a read or a write.
pub(super) const ETAG: (&str, &str) =
    ("ETag", "The version of an entry; the tag of an object, as in S3.");

pub(super) const DELETED: Success = Success {
    status: 204,
    description: "The write is on the disk.",
    content: Content::Empty,
    fields: &[],
};

pub(super) const WRITTEN: Success = Success { fields: &[ETAG], ..DELETED };

pub(super) const UNCHANGED: Success = Success {
    status: 304,
    description: "What is there has a tag of `if-none-match`.",
    content: Content::Empty,
    fields: &[ETAG],
};

pub(super) const fn document(description: &'static str, schema: SchemaOf) -> Success {
    let content = Content::Json { max: 0, schema };
    Success { status: 200, description, content, fields: &[] }
}

/// The page of a list that a request asks for, and the name after which the next one begins.
pub(super) fn page<T>(
    all: Vec<T>,
    call: &Call,
    name: impl Fn(&T) -> String,
) -> (Vec<T>, Option<String>) {
    let after = after(call).unwrap_or_default();
    let mut rest = all.into_iter().filter(|one| after.is_empty() || *name(one) > *after).peekable();
    let page: Vec<T> = rest.by_ref().take(limit(call)).collect();
    let next = rest.peek().and_then(|_| page.last()).map(name);
    (page, next)
}

pub(super) fn limit(call: &Call) -> usize {
    usize::try_from(call.number("limit").unwrap_or(PAGE)).unwrap_or(MAX_KEYS)
}

pub(super) fn after(call: &Call) -> Option<&str> {
    call.text("after").filter(|after| !after.is_empty())
}

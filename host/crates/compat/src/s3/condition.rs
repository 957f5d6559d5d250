//! Conditional requests (RFC 9110, section 13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, header};
use lacewing_store::object::Object;
use s3s::{
    S3Error, S3Result,
    dto::{ETag, ETagCondition, Timestamp},
    s3_error,
};

/// The conditions of a read.
#[derive(Default)]
pub(super) struct Conditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<Timestamp>,
    pub(super) if_unmodified_since: Option<Timestamp>,
}

/// The conditions that the input of a read has.
macro_rules! conditions {
    ($input:ident) => {
        $crate::s3::condition::Conditions {
            if_match: $input.if_match,
            if_none_match: $input.if_none_match,
            if_modified_since: $input.if_modified_since,
            if_unmodified_since: $input.if_unmodified_since,
        }
    };
}

/// The conditions on its source that the input of a copy has.
macro_rules! source_conditions {
    ($input:ident) => {
        $crate::s3::condition::Conditions {
            if_match: $input.copy_source_if_match,
            if_none_match: $input.copy_source_if_none_match,
            if_modified_since: $input.copy_source_if_modified_since,
            if_unmodified_since: $input.copy_source_if_unmodified_since,
        }
    };
}

pub(super) use {conditions, source_conditions};

/// When an object was written, to the second, as in HTTP dates.
pub(super) fn modified(object: &Object) -> Timestamp {
    let seconds = u64::try_from(object.modified_ms).unwrap_or_default() / 1000;
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
    Timestamp::from(time)
}

pub(super) fn etag(object: &Object) -> ETag {
    ETag::Strong(object.etag.clone())
}

fn matches(condition: &ETagCondition, object: &Object) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(tag) => tag.value() == object.etag,
    }
}

/// The answer that the client has the object, with the tag that it has.
fn not_modified(object: &Object) -> S3Error {
    let mut error = s3_error!(NotModified);
    let tag = HeaderValue::try_from(format!("\"{}\"", object.etag));
    error.set_headers(tag.into_iter().map(|tag| (header::ETAG, tag)).collect());
    error
}

impl Conditions {
    /// Checks the conditions of a read, in the order of RFC 9110, section 13.2.2.
    pub(super) fn check_read(&self, object: &Object) -> S3Result<()> {
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(tag), _) if !matches(tag, object) => return Err(s3_error!(PreconditionFailed)),
            (None, Some(since)) if modified(object) > *since => {
                return Err(s3_error!(PreconditionFailed));
            }
            _ => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(tag), _) if matches(tag, object) => Err(not_modified(object)),
            (None, Some(since)) if modified(object) <= *since => Err(not_modified(object)),
            _ => Ok(()),
        }
    }

    /// Checks the conditions on the source of a copy: each that fails is a 412.
    pub(super) fn check_source(&self, object: &Object) -> S3Result<()> {
        let checked = self.check_read(object);
        checked.map_err(|_| s3_error!(PreconditionFailed))
    }
}

/// The conditions of a deletion.
#[derive(Default)]
pub(super) struct DeleteConditions {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) modified: Option<Timestamp>,
    pub(super) size: Option<i64>,
}

impl DeleteConditions {
    /// Checks the conditions on an object. One that is not there is deleted already.
    pub(super) fn hold(&self, object: &Object) -> bool {
        let size = i64::try_from(object.bytes).unwrap_or(i64::MAX);
        self.if_match.as_ref().is_none_or(|condition| matches(condition, object))
            && self.size.is_none_or(|said| said == size)
            && self.modified.as_ref().is_none_or(|said| *said == modified(object))
    }
}

/// Checks the conditions of a write on the object that it replaces.
pub(super) fn check_write(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
    found: Option<&Object>,
) -> S3Result<()> {
    if let Some(condition) = if_match {
        match found {
            None => return Err(s3_error!(NoSuchKey)),
            Some(object) if !matches(condition, object) => {
                return Err(s3_error!(PreconditionFailed));
            }
            Some(_) => {}
        }
    }
    if let (Some(condition), Some(object)) = (if_none_match, found)
        && matches(condition, object)
    {
        return Err(s3_error!(PreconditionFailed));
    }
    Ok(())
}

//! Errors of the store in the words of S3.

use http::StatusCode;
use lacewing_store::{StoreError, kv::KvError};
use s3s::{S3Error, S3ErrorCode, s3_error};

/// The error of a call on the store.
pub(super) fn refused(error: &KvError) -> S3Error {
    match error {
        KvError::KeySize { .. } => s3_error!(KeyTooLongError, "{error}"),
        KvError::ObjectSize { .. } => s3_error!(EntityTooLarge, "{error}"),
        KvError::AttributeSize { .. } => s3_error!(MetadataTooLarge, "{error}"),
        KvError::OverQuota { .. } => over_quota(error.to_string()),
        KvError::TooManyKeys { .. }
        | KvError::TooManyBytes { .. }
        | KvError::ValueSize { .. }
        | KvError::TooManyEffects { .. }
        | KvError::EffectBytes { .. }
        | KvError::TooManyReads => s3_error!(InvalidRequest, "{error}"),
        KvError::NotANumber
        | KvError::NotAnObject
        | KvError::Delay { .. }
        | KvError::GroupSize { .. }
        | KvError::MessageSize { .. }
        | KvError::DelayInOrder
        | KvError::NotAMessage
        | KvError::Overflow => s3_error!(InvalidArgument, "{error}"),
        KvError::Store(error) => of_store(error),
    }
}

/// The error of the store itself.
pub(super) fn of_store(error: &StoreError) -> S3Error {
    match error {
        StoreError::DiskFull => full(error.to_string()),
        StoreError::TooManySnapshots { .. } => s3_error!(SlowDown, "{error}"),
        StoreError::ReadOnly(_)
        | StoreError::Damaged(_)
        | StoreError::NewerSchema { .. }
        | StoreError::SnapshotTooOld { .. }
        | StoreError::Failed(_) => s3_error!(ServiceUnavailable, "{}", error.for_tenants()),
    }
}

/// The error of a write beyond the bytes that a bucket or a tenant may have.
pub(super) fn over_quota(text: String) -> S3Error {
    full(text)
}

/// S3 has no code for a server without room. Clients do not repeat a request after a 507.
fn full(text: String) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom("InsufficientStorage".into()), text);
    error.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
    error
}

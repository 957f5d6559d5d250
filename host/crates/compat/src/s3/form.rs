//! Forms of browsers with a file, S3's *POST Object*: the place of each in memory.
//!
//! s3s has all of a form in memory before it knows the signature. So the bounds hold for all
//! clients together: a form is small, has to come soon, and few are there at once.

use std::time::Duration;

use http::{Method, Request, header};
use s3s::{S3Error, s3_error};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of a form.
pub(super) const FORM_BYTES: u64 = 1 << 20;

/// Forms at once.
const FORMS: usize = 8;

/// The time in which all of a form has to come.
pub(super) const FORM_TIME: Duration = Duration::from_secs(30);

/// The places of forms.
pub(super) struct Forms(Semaphore);

impl Default for Forms {
    fn default() -> Forms {
        Forms(Semaphore::new(FORMS))
    }
}

impl Forms {
    /// The place of a request that is a form; `None` for any other request.
    pub(super) fn place<B>(
        &self,
        request: &Request<B>,
    ) -> Result<Option<SemaphorePermit<'_>>, S3Error> {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let content_type = text(header::CONTENT_TYPE).unwrap_or_default().trim_start();
        let is_form = request.method() == Method::POST
            && content_type.to_ascii_lowercase().starts_with("multipart/form-data");
        if !is_form {
            return Ok(None);
        }
        let bytes = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let Some(bytes) = bytes else {
            return Err(s3_error!(MissingContentLength, "a form says its length"));
        };
        if bytes > FORM_BYTES {
            let limit = FORM_BYTES >> 20;
            return Err(s3_error!(
                EntityTooLarge,
                "a form has {limit} MiB at most: a presigned URL takes a larger body"
            ));
        }
        let full = |_| s3_error!(SlowDown, "{FORMS} forms are on their way already");
        self.0.try_acquire().map(Some).map_err(full)
    }
}

//! Forms of browsers with a file, S3's *POST Object*: the place of each in memory.
//!
//! s3s has all of a form in memory before it knows the signature. So the bounds hold for strangers:
//! a form is small, has to come soon, and few are there at once, of which each client has a part.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use http::{Method, Request, header};
use lacewing_base::network::client_network;
use parking_lot::Mutex;
use s3s::{S3Error, s3_error};

/// Bytes of a form.
pub(super) const FORM_BYTES: u64 = 1 << 20;

/// Forms at once.
const FORMS: usize = 32;

/// Forms at once of the clients in one network.
const FORMS_PER_NETWORK: usize = 4;

/// The places of forms, and the networks that have them.
#[derive(Default)]
pub(super) struct Forms(Mutex<HashMap<IpAddr, usize>>);

impl Forms {
    /// The place of a request that is a form; `None` for any other request.
    pub(super) fn place<B>(
        self: &Arc<Forms>,
        request: &Request<B>,
        client: IpAddr,
    ) -> Result<Option<FormPlace>, S3Error> {
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
        self.take(client_network(client)).map(Some)
    }

    fn take(self: &Arc<Forms>, network: IpAddr) -> Result<FormPlace, S3Error> {
        let mut forms = self.0.lock();
        if forms.values().sum::<usize>() == FORMS {
            return Err(s3_error!(SlowDown, "{FORMS} forms are on their way already"));
        }
        let of_network = forms.entry(network).or_default();
        if *of_network == FORMS_PER_NETWORK {
            return Err(s3_error!(
                SlowDown,
                "{FORMS_PER_NETWORK} forms of one network are on their way already"
            ));
        }
        *of_network += 1;
        Ok(FormPlace { forms: self.clone(), network })
    }
}

/// The place of a form, until it is dropped.
pub(super) struct FormPlace {
    forms: Arc<Forms>,
    network: IpAddr,
}

impl Drop for FormPlace {
    fn drop(&mut self) {
        let mut forms = self.forms.0.lock();
        if let Entry::Occupied(mut count) = forms.entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_a_part_of_the_places() {
        let forms = Arc::<Forms>::default();
        let network = |last: u8| IpAddr::from([192, 0, 2, last]);
        let places: Vec<_> = (0..FORMS_PER_NETWORK).map(|_| forms.take(network(1))).collect();
        assert!(places.iter().all(Result::is_ok));
        let refused = forms.take(network(1)).err().expect("the network has its part");
        let text = refused.message().unwrap_or_default();
        assert_eq!(text, "4 forms of one network are on their way already");
        assert!(forms.take(network(2)).is_ok());
        drop(places);
        assert!(forms.0.lock().is_empty());
    }
}

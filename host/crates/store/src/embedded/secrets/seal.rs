//! The sealed form of a secret: XChaCha20-Poly1305, with the secret's place as associated data.
//!
//! ```text
//!   "lws1"   nonce, 24 random bytes   ciphertext   tag, 16 bytes
//! ```
//!
//! A nonce of 24 random bytes does not repeat under one key (Arciszewski, *XChaCha*, section 2.1).
//! The associated data is the form and TENANT/APP/NAME: names have no slash.

use chacha20poly1305::{
    XNonce,
    aead::{Aead, Generate, Payload},
};
use lacewing_base::secret::MAX_SECRET_BYTES;
use zeroize::Zeroizing;

use super::{SecretError, key::Key};

/// The form. Another form needs another word.
const FORM: &[u8; 4] = b"lws1";
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;

/// The most bytes that a sealed secret has.
pub(super) const MAX_BYTES: u64 = (FORM.len() + NONCE_BYTES + MAX_SECRET_BYTES + TAG_BYTES) as u64;

pub(super) fn seal(key: &Key, place: &str, value: &str) -> Result<Vec<u8>, SecretError> {
    let nonce = XNonce::try_generate().map_err(|_| SecretError::NoRandom)?;
    let aad = associated(place);
    let payload = Payload { msg: value.as_bytes(), aad: &aad };
    // The one error of the cipher is a message of over 256 GiB.
    let sealed = key.cipher().encrypt(&nonce, payload);
    let sealed = sealed.map_err(|_| SecretError::TooLarge { bytes: value.len() })?;
    Ok([&FORM[..], &nonce, &sealed].concat())
}

/// The value; `None` if the seal is not that of the key and the place.
pub(super) fn open(key: &Key, place: &str, sealed: &[u8]) -> Option<String> {
    let (nonce, sealed) = sealed.strip_prefix(FORM)?.split_at_checked(NONCE_BYTES)?;
    let nonce: &[u8; NONCE_BYTES] = nonce.try_into().ok()?;
    let payload = Payload { msg: sealed, aad: &associated(place) };
    let value = key.cipher().decrypt(&XNonce::from(*nonce), payload).ok()?;
    // What was sealed was text.
    String::from_utf8(value).map_err(|error| Zeroizing::new(error.into_bytes())).ok()
}

fn associated(place: &str) -> Vec<u8> {
    [&FORM[..], b" ", place.as_bytes()].concat()
}

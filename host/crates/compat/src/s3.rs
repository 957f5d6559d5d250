//! The S3 API over the buckets of tenants.
//!
//! ```text
//!   S3Listener        connections, with their places and their pace
//!       │
//!   Door              what s3s leaves open: forms, slow bodies, pages of other origins
//!       │
//!   s3s               HTTP, XML, signatures (AWS Signature Version 4)
//!       │  Caller: the tenant and the rights of the access key
//!       v
//!   S3Door            one file for each group of operations
//!       │
//!   Transaction       the same that a function has
//! ```
//!
//! An access key belongs to one tenant. So a client sees the buckets of its tenant only, and two
//! tenants may have buckets of the same name.

mod attributes;
mod body;
mod bucket;
mod caller;
mod checksum;
mod condition;
mod cors;
mod describe;
mod door;
mod error;
mod figures;
mod form;
mod list;
mod listener;
mod object;
mod operations;
mod pace;
mod places;
mod requests;
mod settings;
mod tags;
mod text;
mod upload;

use caller::{Rights, RightsOf};
pub use caller::{S3Key, S3Keys};
pub use figures::S3Figures;
pub use listener::{S3Bounds, S3Listener};

use std::sync::Arc;

use s3s::{
    S3Result,
    auth::{S3Auth, SecretKey},
    config::{S3Config, StaticConfigProvider},
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

/// The largest body in XML, in bytes: 9,000 parts of an upload fit.
const XML_BYTES: usize = 2 << 20;

/// The operations of S3.
pub(crate) struct S3Door;

/// The secrets of access keys.
struct Secrets(Arc<Rights>);

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let key = self.0.key(access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(SecretKey::from(key.secret.clone()))
    }
}

/// The service that answers requests with the keys of a host.
fn service(rights: &Arc<Rights>) -> S3Service {
    let mut config = S3Config::default();
    config.xml_max_body_size = XML_BYTES;
    config.post_object_max_file_size = form::FORM_BYTES;
    config.form_max_fields_size = usize::try_from(form::FORM_BYTES).unwrap_or(usize::MAX);
    let mut builder = S3ServiceBuilder::new(S3Door);
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Secrets(rights.clone()));
    builder.set_access(RightsOf(rights.clone()));
    builder.build()
}

//! The host as a whole: its deployed functions, their changes, and the API for its operator.

mod admin;
mod buckets;
mod deploy;
mod host;
mod layout;
mod ledger;
mod provision;
mod review;
mod routes;
mod s3_keys;
mod secrets;
mod snapshot;
mod state;

pub use admin::{
    client::{AdminClient, ClientError, next_of},
    documents::{
        Backup, BackupOrder, BucketDocument, BucketPage, Check, CheckedStore, KeyPage,
        ObjectDocument, ObjectPage, Problem, StoreDocument, StorePage, TenantPage, merged_stores,
    },
};
pub use buckets::{BucketError, TenantBuckets};
pub use deploy::{Components, DeployError, Deployment, Incoming, Ready, Refusal, Swap};
pub use host::{Deployed, DeployedApp, Host, HostError};
pub use layout::{layouts, review_layouts};
pub use ledger::{Ledger, Malformed};
pub use review::review;
pub use s3_keys::{ListedS3Key, S3AccessKey, S3Grant, S3KeyError, S3KeyFolder};
pub use secrets::missing_secrets;
pub use state::StateError;

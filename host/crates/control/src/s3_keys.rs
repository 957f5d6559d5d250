//! The access keys for S3: made by the operator, sealed in the state directory.
//!
//! The id of a key ends with the name of its tenant, so that one file answers whether there is a
//! key of that id.

use std::{fs::File, io::Read, path::Path, sync::Arc};

use lacewing_base::{Access, Bucket, SecretName, name::TenantName};
use lacewing_store::{
    TenantState,
    secrets::{Secret, SecretError, SecretFolder, SecretStore},
};
use serde::{Deserialize, Serialize};

use super::{Host, state::DeployedState};

/// An access key of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3AccessKey {
    /// Its secret.
    pub secret: String,
    /// The names of the buckets that it may use, as S3 clients say them; `None` for all of its
    /// tenant.
    pub buckets: Option<Vec<String>>,
    /// The operations that it may call.
    pub access: Access,
}

/// An access key as a listing shows it.
#[derive(Debug)]
pub struct ListedS3Key {
    /// Its id.
    pub id: SecretName,
    /// The key, if it opens.
    pub key: Result<S3AccessKey, SecretError>,
}

/// Why there is no access key.
#[derive(Debug, thiserror::Error)]
pub enum S3KeyError {
    /// The id of a key has the tenant's name in it.
    #[error("the name of tenant `{tenant}` is too long for an access key: {limit} letters at most")]
    LongTenant {
        /// The tenant.
        tenant: TenantName,
        /// The bound.
        limit: usize,
    },
    /// The state directory.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers, which a key needs")]
    NoRandom,
}

/// Random letters at the beginning of an id.
const ID_LETTERS: usize = 16;

/// Bytes of a secret, before they are written as text.
const SECRET_BYTES: usize = 30;

/// The access keys of a tenant in a state directory.
#[derive(Debug)]
pub struct S3KeyFolder {
    tenant: TenantName,
    folder: SecretFolder,
}

impl S3KeyFolder {
    /// The keys of a tenant. Nothing is opened or made until the first use.
    pub fn at(dir: &Path, tenant: &TenantName) -> S3KeyFolder {
        let folder = Arc::new(SecretStore::at(dir)).s3_keys(tenant);
        S3KeyFolder { tenant: tenant.clone(), folder }
    }

    /// Makes a key. Returns its id and the key.
    ///
    /// # Errors
    /// The tenant has too many keys or too long a name, or the directory cannot be used.
    pub fn create(
        &self,
        buckets: Option<Vec<String>>,
        access: Access,
    ) -> Result<(SecretName, S3AccessKey), S3KeyError> {
        let letters = data_encoding::BASE32_NOPAD.encode(&random::<10>()?);
        let tenant = self.tenant.as_str().to_ascii_uppercase().replace('-', "_");
        let limit = lacewing_base::secret::MAX_SECRET_NAME_BYTES - ID_LETTERS - 3;
        let text = format!("LW{letters}_{tenant}");
        let too_long = || S3KeyError::LongTenant { tenant: self.tenant.clone(), limit };
        let id: SecretName = text.parse().map_err(|_| too_long())?;
        let secret = data_encoding::BASE64.encode(&random::<SECRET_BYTES>()?);
        let key = S3AccessKey { secret, buckets, access };
        let text = serde_json::to_string(&key).unwrap_or_default();
        self.folder.set(&id, &Secret::new(text)?)?;
        Ok((id, key))
    }

    /// The ids of the keys, each with the key, or with the reason for which it does not open.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<ListedS3Key>, S3KeyError> {
        let listed = self.folder.list()?.into_iter().map(|listed| listed.name);
        let opened = listed.filter_map(|id| {
            let key = open(&self.folder, &id).transpose()?;
            Some(ListedS3Key { id, key })
        });
        Ok(opened.collect())
    }

    /// Removes a key. Returns whether there was one.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn remove(&self, id: &SecretName) -> Result<bool, S3KeyError> {
        Ok(self.folder.remove(id)?)
    }
}

fn random<const N: usize>() -> Result<[u8; N], S3KeyError> {
    let mut bytes = [0; N];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(|_| S3KeyError::NoRandom)
}

fn open(folder: &SecretFolder, id: &SecretName) -> Result<Option<S3AccessKey>, SecretError> {
    let secret = folder.get(id)?;
    Ok(secret.and_then(|secret| serde_json::from_str(secret.expose()).ok()))
}

/// The tenant that the id of a key names.
fn tenant_of(id: &str) -> Option<TenantName> {
    let (letters, tenant) = id.split_once('_')?;
    let is_id = letters.len() == ID_LETTERS + 2 && letters.starts_with("LW");
    is_id.then(|| tenant.to_ascii_lowercase().replace('_', "-").parse().ok()).flatten()
}

/// The access of a key to the state of its tenant.
pub struct S3Grant {
    /// The tenant.
    pub tenant: TenantName,
    /// The key.
    pub key: S3AccessKey,
    /// The state of the tenant.
    pub state: Arc<dyn TenantState>,
    /// The buckets that functions of the tenant are granted.
    pub declared: Arc<Vec<Arc<Bucket>>>,
}

impl std::fmt::Debug for S3Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Grant").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Host {
    /// The access of the key of an id; `None` if there is no such key, or its tenant has no
    /// function with state. Blocks for as long as the reading of a small file takes.
    pub fn s3_grant(&self, id: &str) -> Option<S3Grant> {
        let tenant = tenant_of(id)?;
        let DeployedState { state, buckets: declared, .. } = self.deployed_state(&tenant)?;
        let folder = self.secrets.store()?.s3_keys(&tenant);
        let key = open(&folder, &id.parse().ok()?);
        let key =
            key.inspect_err(|error| tracing::error!(%error, "an access key for S3")).ok()??;
        Some(S3Grant { tenant, key, state, declared })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_tenant() {
        let dir = tempfile::tempdir().unwrap();
        let keys = S3KeyFolder::at(dir.path(), &"acme-shop".parse().unwrap());
        let (id, key) = keys.create(None, Access::Read).unwrap();
        assert_eq!(tenant_of(id.as_str()), Some("acme-shop".parse().unwrap()));
        assert_eq!(key.secret.len(), 40);
        let listed = keys.list().unwrap();
        assert_eq!((listed.len(), &listed[0].id), (1, &id));
        assert_eq!(listed[0].key.as_ref().unwrap(), &key);
        assert!(keys.remove(&id).unwrap() && !keys.remove(&id).unwrap());
        for none in ["", "LW_ACME", "AKIAIOSFODNN7EXAMPLE", "LWAAAAAAAAAAAAAAAA_../x"] {
            assert_eq!(tenant_of(none), None, "{none}");
        }
    }

    #[test]
    fn a_key_of_a_tenant_with_a_long_name_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keys = S3KeyFolder::at(dir.path(), &"a".repeat(50).parse().unwrap());
        let error = keys.create(None, Access::Read).unwrap_err().to_string();
        assert!(error.ends_with("is too long for an access key: 45 letters at most"), "{error}");
    }
}

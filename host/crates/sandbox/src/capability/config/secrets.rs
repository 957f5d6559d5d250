//! The secrets that a function is granted.

use std::sync::Arc;

use lacewing_base::SecretName;
use lacewing_store::secrets::{Secret, SecretFolder};

use super::super::stdio::Log;

/// The secrets of an app, and those that a revision may read.
#[derive(Clone, Debug)]
pub struct SecretSettings {
    /// The granted names.
    pub names: Arc<[SecretName]>,
    /// The app's secrets in the state directory; `None` for a host without one.
    pub stored: Option<SecretFolder>,
    /// Values that stand above the stored ones: those of the host's environment.
    pub given: Arc<[(SecretName, Secret)]>,
}

impl SecretSettings {
    /// The granted secrets that are not set now.
    pub fn missing(&self) -> impl Iterator<Item = &SecretName> {
        self.names.iter().filter(|name| {
            let is_given = self.given.iter().any(|(given, _)| given == *name);
            !is_given && self.stored.as_ref().is_none_or(|stored| !stored.is_set(name))
        })
    }
}

/// Why a guest does not get a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The function is granted no secret of this name.
    NotGranted,
    /// The operator has not set the secret.
    NotSet,
    /// The secret cannot be read.
    Unavailable,
}

/// A secret that a guest does not get, in words for the function's developer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) text: String,
}

/// The secrets of one invocation, each read once.
pub(super) struct OpenedSecrets {
    settings: Option<SecretSettings>,
    opened: Vec<(SecretName, Secret)>,
    log: Log,
}

impl OpenedSecrets {
    pub(super) fn new(settings: Option<SecretSettings>, log: Log) -> OpenedSecrets {
        OpenedSecrets { settings, opened: Vec::new(), log }
    }

    pub(super) fn are_granted(&self, name: &SecretName) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.names.contains(name))
    }

    /// The value of a secret, which an invocation reads once.
    pub(super) fn get(&mut self, name: &str) -> Result<String, Failure> {
        if let Some((_, secret)) = self.opened.iter().find(|(opened, _)| opened.as_str() == name) {
            return Ok(secret.expose().to_owned());
        }
        let (name, secret) = self.open(name).inspect_err(|failure| {
            self.log.now().note(&failure.text);
        })?;
        let value = secret.expose().to_owned();
        self.opened.push((name, secret));
        Ok(value)
    }

    fn open(&self, name: &str) -> Result<(SecretName, Secret), Failure> {
        let settings = self.settings.as_ref();
        let granted = settings.map(|settings| &*settings.names).unwrap_or_default();
        let Some(granted_name) = granted.iter().find(|granted| granted.as_str() == name) else {
            let known: Vec<&str> = granted.iter().map(SecretName::as_str).collect();
            let known = match known.is_empty() {
                true => "the manifest grants no secret to the function".to_owned(),
                false => format!("the function may read {}", known.join(", ")),
            };
            let text = format!("the secret {name:?} is not granted: {known}");
            return Err(Failure { kind: FailureKind::NotGranted, text });
        };
        let found = settings.map_or(Ok(None), |settings| settings.find(granted_name));
        match found {
            Ok(Some(secret)) => Ok((granted_name.clone(), secret)),
            Ok(None) => {
                let text = format!(
                    "the secret `{name}` is not set: the operator sets it with `lacewing secret set`"
                );
                Err(Failure { kind: FailureKind::NotSet, text })
            }
            Err(text) => Err(Failure { kind: FailureKind::Unavailable, text }),
        }
    }
}

impl SecretSettings {
    fn find(&self, name: &SecretName) -> Result<Option<Secret>, String> {
        if let Some((_, secret)) = self.given.iter().find(|(given, _)| given == name) {
            return Ok(Some(secret.clone()));
        }
        let Some(stored) = &self.stored else { return Ok(None) };
        stored.get(name).map_err(|error| error.for_tenants(name))
    }
}

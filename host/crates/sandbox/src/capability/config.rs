//! Configuration and secrets, under the interfaces of others and of the SDK.
//!
//! Configuration is the function's environment. A secret is granted by name, and read when the
//! guest asks. A key of the interfaces of others means the variable of this name, or else the
//! granted secret of this name in upper case.

mod lacewing;
mod secrets;
mod spin;
mod wasi;

use lacewing_base::SecretName;
use wasmtime::{
    Result,
    component::{HasData, Linker},
};

pub use self::secrets::SecretSettings;
use self::secrets::{FailureKind, OpenedSecrets};
use super::{
    extension::{Capability, Opening, StoreData},
    interfaces::Versions,
};

/// The configuration and the secrets of one invocation.
pub(crate) struct Config {
    env: Vec<(String, String)>,
    secrets: OpenedSecrets,
}

/// Says that a store has [`Config`].
struct HasConfig;

impl HasData for HasConfig {
    type Data<'a> = &'a mut Config;
}

fn config<T: StoreData>(data: &mut T) -> &mut Config {
    data.capability::<Config>().0
}

impl Config {
    fn variable(&self, name: &str) -> Option<String> {
        let mut variables = self.env.iter();
        variables.find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// The value of a granted secret that a key of another interface means; `None` if none is
    /// granted.
    fn granted(&mut self, key: &str) -> Option<Result<String, (FailureKind, String)>> {
        let name = key.to_ascii_uppercase().parse::<SecretName>().ok()?;
        if !self.secrets.are_granted(&name) {
            return None;
        }
        Some(self.secrets.get(name.as_str()).map_err(|failure| (failure.kind, failure.text)))
    }
}

impl Capability for Config {
    const PACKAGES: &'static [Versions] = &[
        ("wasi:config", &["0.2.0-draft", "0.2.0-draft-2024-09-27", "0.2.0-rc.1"]),
        ("fermyon:spin/variables", &["2.0"]),
        ("spin:variables", &["3.0"]),
        ("lacewing:secrets", &["0.1"]),
    ];

    // A new value of a secret reaches the next invocation.
    const PER_INVOCATION: bool = true;

    const SHOWS_PROGRESS: bool = true;

    fn why_not_during_init(package: &str) -> &'static str {
        match package {
            "lacewing:secrets" => {
                "the memory that an init leaves is kept on the disk, and a secret would be in it"
            }
            _ => "an init reads variables from the environment, and no secrets",
        }
    }

    fn open(opening: Opening<'_>) -> Config {
        match opening.is_over {
            true => Config { env: Vec::new(), secrets: OpenedSecrets::new(None, opening.log) },
            false => Config {
                env: opening.settings.env.clone(),
                secrets: OpenedSecrets::new(opening.settings.secrets.clone(), opening.log),
            },
        }
    }

    fn link<T: StoreData>(linker: &mut Linker<T>, tasks: bool) -> Result<()> {
        wasi::link(linker)?;
        spin::link(linker, tasks)?;
        lacewing::link(linker)
    }
}

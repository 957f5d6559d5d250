//! Guests that hunt for secrets which are not theirs, and guests that ask for secrets without end.

use super::{Host, Target};
use crate::{client, secrets::set, tenants::SUSPECT};

const VALUE: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

/// A suspect that is granted the largest secret, and one that nobody has set.
fn target() -> Target {
    Target::guest("secrets").limits("cpu_ms = 300").grants("secrets = [\"KEY\", \"UNSET\"]")
}

impl Host {
    /// Sets a secret of a tenant's app as the command does.
    fn set_secret(&self, tenant: &str, name: &str, value: &str) {
        set(&self.dir.path().join(".lacewing/state"), tenant, tenant, name, value);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_neighbours_secrets() {
    let attack = async |host: &Host| {
        host.set_secret("neighbour", "KEY", VALUE);
        host.set_secret("neighbour", "THEIRS", VALUE);
        host.set_secret("suspect", "NOT_GRANTED", VALUE);
        let mut said = Vec::new();
        for name in [
            "KEY",
            "THEIRS",
            "NOT_GRANTED",
            "key",
            "%2e%2e%2f%2e%2e%2f%2e%2e%2fneighbour%2fsecrets%2fneighbour%2fKEY",
            "neighbour%2fKEY",
            "KEY%00",
            "secrets.key",
            "%2e%2e%2f%2e%2e%2f%2e%2e%2fsecrets.key",
        ] {
            let reply = client::get(host.address(), SUSPECT, &format!("/read/{name}")).await;
            assert!(reply.status >= 400, "{name}: {}", reply.text());
            said.push(reply.text().to_owned());
        }
        said.concat()
    };
    let said = target().attacked(attack).await;
    assert!(!said.contains(VALUE));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_read_without_end() {
    let attack = async |host: &Host| {
        host.set_secret("suspect", "KEY", &"x".repeat(64 << 10));
        for name in ["KEY", "UNSET", "NOT_GRANTED"] {
            host.get(&format!("/hammer/{name}")).await.is(504, "cpu_exceeded");
        }
    };
    target().attacked(attack).await;
}

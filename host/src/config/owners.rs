//! The owners of host names.

use std::collections::HashMap;

use super::Tenant;
use crate::{manifest::HostPattern, name::TenantName};

/// Whose each host name is, as the tenants' own patterns say.
#[derive(Debug, Default)]
pub struct HostOwners(HashMap<HostPattern, TenantName>);

impl HostOwners {
    /// Of tenants none of which has a pattern of another.
    pub fn of(tenants: &[Tenant]) -> HostOwners {
        HostOwners::new(tenants.iter().map(|tenant| (&tenant.name, &tenant.hosts[..])))
    }

    /// The same, of each tenant's name and patterns.
    pub fn new<'a>(
        tenants: impl IntoIterator<Item = (&'a TenantName, &'a [HostPattern])>,
    ) -> HostOwners {
        let mut owners = HashMap::new();
        for (name, hosts) in tenants {
            owners.extend(hosts.iter().map(|host| (host.clone(), name.clone())));
        }
        HostOwners(owners)
    }

    /// The patterns that have an owner.
    pub fn patterns(&self) -> impl Iterator<Item = &HostPattern> {
        self.0.keys()
    }

    /// Whose the hosts of a pattern are: the tenant's that has it, or else the narrowest that covers it. Nobody's wildcard
    /// takes in a name that is another's.
    pub fn owner(&self, host: &HostPattern) -> Option<&TenantName> {
        self.0.get(host).or_else(|| host.wider().iter().find_map(|wider| self.0.get(wider)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_own_tenants_and_not_the_wildcards() {
        let tenants = [("a", "*.test"), ("b", "x.test"), ("c", "*.y.test"), ("d", "127.0.0.1")];
        let tenants = tenants.map(|(name, host)| (name.parse().unwrap(), [host.parse().unwrap()]));
        let owners = HostOwners::new(tenants.iter().map(|(name, hosts)| (name, &hosts[..])));
        let owner = |host: &str| owners.owner(&host.parse().unwrap()).map(TenantName::as_str);
        for (host, tenant) in [
            ("*.test", Some("a")),
            ("z.test", Some("a")),
            ("*.x.test", Some("a")),
            ("x.test", Some("b")),
            ("*.y.test", Some("c")),
            ("z.y.test", Some("c")),
            ("*.z.y.test", Some("c")),
            ("y.test", Some("a")),
            ("test", None),
            ("*", None),
        ] {
            assert_eq!(owner(host), tenant, "{host}");
        }
    }
}

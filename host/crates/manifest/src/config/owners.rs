//! The owners of host names.

use std::collections::HashMap;

use lacewing_base::{HostPattern, name::TenantName};

use super::Tenant;

/// The owners of host names, by the tenants' own patterns.
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

    /// The owner of the hosts of a pattern: the tenant that has it, or else the narrowest that
    /// covers it. No tenant's wildcard takes in another tenant's name.
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

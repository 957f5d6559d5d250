//! The validation of key-value stores, and of the grants for them.

use std::sync::Arc;

use lacewing_base::{
    Access, KvGrant, KvStore,
    name::{AppName, StoreName},
};

use super::super::explain::nearest;
use super::super::findings::Findings;
use super::super::raw::RawKv;
use super::super::spanned::{At, Entries};
use super::super::{Diagnostic, Written};

const KIB: u64 = 1024;

/// The stores of an app.
pub(super) struct KvStores(Vec<(String, Arc<KvStore>)>);

impl KvStores {
    pub(super) fn read(
        raw: &Entries<RawKv>,
        app: Option<&AppName>,
        findings: &mut Findings,
    ) -> KvStores {
        let mut stores = Vec::new();
        for (raw_name, raw) in &raw.0 {
            let mut number =
                |key: &str, raw: &Option<_>, range| findings.number(key, raw.as_ref()?, range);
            let max_mib = number("max_mib", &raw.max_mib, 1..=1_073_741_824);
            let max_value_kib = number("max_value_kib", &raw.max_value_kib, 1..=1024);
            // Without the app's name, which is a finding already, no store is used.
            let (Some(name), Some(app)) = (findings.name::<StoreName>(raw_name), app) else {
                continue;
            };
            let mut store = KvStore::new(app, name.as_str());
            store.max_bytes = max_mib.map_or(store.max_bytes, |mib| mib * KIB * KIB);
            store.max_value_bytes = max_value_kib.map_or(store.max_value_bytes, |kib| kib * KIB);
            stores.push((raw_name.value.clone(), Arc::new(store)));
        }
        KvStores(stores)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<KvStore>> {
        self.0.iter().map(|(_, store)| store)
    }

    /// The grants of a function, for stores that are there.
    pub(super) fn grants(
        &self,
        raw: &Entries<At<String>>,
        findings: &mut Findings,
    ) -> Vec<Written<KvGrant>> {
        let mut grants = Vec::new();
        for (name, access) in &raw.0 {
            let access = read_access(access, findings);
            let store = self.store(name, findings);
            if let (Some(store), Some(access)) = (store, access) {
                let grant = KvGrant { name: name.value.as_str().into(), store, access };
                grants.push(Written::new(grant, findings.place(&name.span)));
            }
        }
        grants
    }

    fn store(&self, name: &At<String>, findings: &mut Findings) -> Option<Arc<KvStore>> {
        if let Some((_, store)) = self.0.iter().find(|(known, _)| *known == name.value) {
            return Some(store.clone());
        }
        let known: Vec<&str> = self.0.iter().map(|(known, _)| known.as_str()).collect();
        let finding = Diagnostic::error(format!("the app has no kv store {:?}", name.value));
        let finding = match nearest(&name.value, &known) {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding.help(format!("add a table `[kv.{}]`", name.value)),
        };
        findings.at(&name.span, finding);
        None
    }
}

fn read_access(raw: &At<String>, findings: &mut Findings) -> Option<Access> {
    let known = Access::NAMES.iter().find(|(name, _)| *name == raw.value);
    if known.is_none() {
        let message = format!("{:?} is no access to a store", raw.value);
        let finding = Diagnostic::error(message).help("write `\"read\"` or `\"read-write\"`");
        findings.at(&raw.span, finding);
    }
    known.map(|(_, access)| *access)
}

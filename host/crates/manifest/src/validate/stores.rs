//! The validation of stores and buckets, and of the grants for them.

use std::sync::Arc;

use lacewing_base::{
    Access, Bucket, BucketGrant, KvGrant, KvStore,
    name::{AppName, StoreName},
};

use super::super::explain::nearest;
use super::super::findings::Findings;
use super::super::raw::{RawBucket, RawKv};
use super::super::spanned::{At, Entries};
use super::super::{Diagnostic, Written};

const MIB: u64 = 1024 * 1024;

/// The stores of one kind that an app declares.
pub(super) struct DeclaredStores<T> {
    /// The kind in an error, as in `kv store`.
    pub(super) kind: &'static str,
    /// The table of the manifest, as in `kv`.
    pub(super) table: &'static str,
    pub(super) all: Vec<(String, Arc<T>)>,
}

impl DeclaredStores<KvStore> {
    pub(super) fn kv(
        raw: &Entries<RawKv>,
        app: Option<&AppName>,
        findings: &mut Findings,
    ) -> DeclaredStores<KvStore> {
        let read =
            |app: &AppName, name: &str, (max_mib, max_value_kib): (Option<u64>, Option<u64>)| {
                let mut store = KvStore::new(app, name);
                store.max_bytes = max_mib.map_or(store.max_bytes, |mib| mib * MIB);
                let value_bytes = max_value_kib.map(|kib| kib * 1024);
                store.max_value_bytes = value_bytes.unwrap_or(store.max_value_bytes);
                store
            };
        let limits = |raw: &RawKv, findings: &mut Findings| {
            let max_mib = number("max_mib", &raw.max_mib, 1..=1_073_741_824, findings);
            (max_mib, number("max_value_kib", &raw.max_value_kib, 1..=1024, findings))
        };
        DeclaredStores { kind: "kv store", table: "kv", all: all(raw, app, findings, limits, read) }
    }

    /// The grants of a function, for stores that are there.
    pub(super) fn grants(
        &self,
        raw: &Entries<At<String>>,
        findings: &mut Findings,
    ) -> Vec<Written<KvGrant>> {
        self.granted(raw, findings, |name, store, access| KvGrant { name, store, access })
    }
}

impl DeclaredStores<Bucket> {
    pub(super) fn buckets(
        raw: &Entries<RawBucket>,
        app: Option<&AppName>,
        findings: &mut Findings,
    ) -> DeclaredStores<Bucket> {
        let read =
            |app: &AppName, name: &str, (max_mib, max_object_mib): (Option<u64>, Option<u64>)| {
                let bucket = Bucket::of_app(app, name);
                let bucket = match max_mib {
                    Some(mib) => bucket.with_max_bytes(mib * MIB),
                    None => bucket,
                };
                let object_bytes = max_object_mib.map(|mib| mib * MIB);
                let max_object_bytes = object_bytes.unwrap_or(bucket.max_object_bytes);
                Bucket { max_object_bytes, ..bucket }
            };
        let limits = |raw: &RawBucket, findings: &mut Findings| {
            let max_mib = number("max_mib", &raw.max_mib, 1..=1_073_741_824, findings);
            (max_mib, number("max_object_mib", &raw.max_object_mib, 1..=1_048_576, findings))
        };
        let all = all(raw, app, findings, limits, read);
        DeclaredStores { kind: "bucket", table: "buckets", all }
    }

    /// The grants of a function, for buckets that are there.
    pub(super) fn grants(
        &self,
        raw: &Entries<At<String>>,
        findings: &mut Findings,
    ) -> Vec<Written<BucketGrant>> {
        self.granted(raw, findings, |name, bucket, access| BucketGrant { name, bucket, access })
    }
}

/// Reads each table of a kind. Without the app's name, which is a finding already, no store is
/// used.
pub(super) fn all<R, L, T>(
    raw: &Entries<R>,
    app: Option<&AppName>,
    findings: &mut Findings,
    limits: impl Fn(&R, &mut Findings) -> L,
    read: impl Fn(&AppName, &str, L) -> T,
) -> Vec<(String, Arc<T>)> {
    let mut all = Vec::new();
    for (raw_name, raw) in &raw.0 {
        let limits = limits(raw, findings);
        let name = findings.name::<StoreName>(raw_name);
        if let (Some(name), Some(app)) = (name, app) {
            all.push((raw_name.value.clone(), Arc::new(read(app, name.as_str(), limits))));
        }
    }
    all
}

pub(super) fn number(
    key: &str,
    raw: &Option<At<super::super::raw::Whole>>,
    range: std::ops::RangeInclusive<u64>,
    findings: &mut Findings,
) -> Option<u64> {
    findings.number(key, raw.as_ref()?, range)
}

impl<T> DeclaredStores<T> {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.all.iter().map(|(_, store)| store)
    }

    pub(super) fn granted<G>(
        &self,
        raw: &Entries<At<String>>,
        findings: &mut Findings,
        grant: impl Fn(Arc<str>, Arc<T>, Access) -> G,
    ) -> Vec<Written<G>> {
        let mut grants = Vec::new();
        for (name, access) in &raw.0 {
            let access = read_access(access, findings);
            let store = self.find(name, findings);
            if let (Some(store), Some(access)) = (store, access) {
                let grant = grant(name.value.as_str().into(), store, access);
                grants.push(Written::new(grant, findings.place(&name.span)));
            }
        }
        grants
    }

    fn find(&self, name: &At<String>, findings: &mut Findings) -> Option<Arc<T>> {
        if let Some((_, store)) = self.all.iter().find(|(known, _)| *known == name.value) {
            return Some(store.clone());
        }
        let known: Vec<&str> = self.all.iter().map(|(known, _)| known.as_str()).collect();
        let finding = Diagnostic::error(format!("the app has no {} {:?}", self.kind, name.value));
        let finding = match nearest(&name.value, &known) {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding.help(format!("add a table `[{}.{}]`", self.table, name.value)),
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

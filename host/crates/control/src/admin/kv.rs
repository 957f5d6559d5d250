//! Operations on key-value stores: what a tenant has, and its entries.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use lacewing_base::KvStore;
use lacewing_store::kv::{Condition, MAX_KEY_BYTES, Version};

use super::{
    ControlApi,
    documents::{KeyPage, StorePage, TenantPage, merged_stores},
    opened::OpenedStore,
    operation::{
        Answer, AnswerContent, Call, Content, Handler, Operation, Parameter, ParameterKind,
        Refusal, Success, TurnKind, schema,
    },
    preconditions::Preconditions,
    shared::{
        AFTER, DELETED, ETAG, IF_MATCH, IF_NONE_MATCH, LIMIT, TENANT, UNCHANGED, WRITTEN, after,
        document, limit, page,
    },
};

/// When an entry expires, in milliseconds since 1970.
pub(super) const EXPIRES: HeaderName = HeaderName::from_static("lacewing-expires-ms");

/// The longest time to live: what JSON has exactly, in seconds.
const MAX_SECONDS: u64 = (1 << 53) - 1;

const TEXT: ParameterKind = ParameterKind::Text { max: MAX_KEY_BYTES };

const APP: Parameter = Parameter::path("app", ParameterKind::Name, "The app of the store.");
const STORE: Parameter =
    Parameter::path("store", ParameterKind::Name, "The name of the store in its app.");
const KEY: Parameter = Parameter::path(
    "key",
    ParameterKind::Key { max: MAX_KEY_BYTES },
    "The key, of 512 bytes of UTF-8 at most, with `/` as `%2F`.",
);

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: Method::GET,
        path: "/v1/tenants",
        id: "listTenants",
        summary: "Lists the tenants that have state, or a deployed function with a grant for some.",
        parameters: &[AFTER, LIMIT],
        content: Content::Empty,
        answers: &[document("A page of tenants.", schema::<TenantPage>)],
        refusals: &[],
        turns: TurnKind::Entries,
        handler: Handler::Whole(list_tenants),
    },
    Operation {
        method: Method::GET,
        path: "/v1/tenants/{tenant}/kv",
        id: "listKvStores",
        summary: "Lists the key-value stores of a tenant, with what each uses of its quota.",
        parameters: &[TENANT, AFTER, LIMIT],
        content: Content::Empty,
        answers: &[document("A page of stores.", schema::<StorePage>)],
        refusals: &[404],
        turns: TurnKind::Entries,
        handler: Handler::Whole(list_stores),
    },
    Operation {
        method: Method::GET,
        path: "/v1/tenants/{tenant}/kv/{app}/{store}/keys",
        id: "listKeys",
        summary: "Lists the keys of a store that begin with a prefix.",
        parameters: &[
            TENANT,
            APP,
            STORE,
            Parameter::query("prefix", TEXT, "Only keys that begin so."),
            AFTER,
            LIMIT,
        ],
        content: Content::Empty,
        answers: &[document("A page of keys.", schema::<KeyPage>)],
        refusals: &[404],
        turns: TurnKind::Entries,
        handler: Handler::Whole(list_keys),
    },
    Operation {
        method: Method::GET,
        path: ENTRY,
        id: "getEntry",
        summary: "Reads the value of a key, with its version.",
        parameters: &[TENANT, APP, STORE, KEY, IF_MATCH, IF_NONE_MATCH],
        content: Content::Empty,
        answers: &[
            Success {
                status: 200,
                description: "The value.",
                content: Content::Bytes { max: 0 },
                fields: &[
                    ETAG,
                    (
                        "lacewing-expires-ms",
                        "When the entry expires, in milliseconds since 1970; not there if it stays.",
                    ),
                ],
            },
            UNCHANGED,
        ],
        refusals: &[404, 412],
        turns: TurnKind::Entries,
        handler: Handler::Whole(get),
    },
    Operation {
        method: Method::PUT,
        path: ENTRY,
        id: "setEntry",
        summary: "Sets the value of a key. The entry has no time to live, unless the request has.",
        parameters: &[
            TENANT,
            APP,
            STORE,
            KEY,
            Parameter::query(
                "expires_in_s",
                ParameterKind::Number { min: 0, max: MAX_SECONDS },
                "Seconds after which the entry is gone.",
            ),
            IF_MATCH,
            IF_NONE_MATCH,
        ],
        content: Content::Bytes { max: MAX_VALUE_BYTES },
        answers: &[WRITTEN],
        refusals: &[404, 409, 412, 507],
        turns: TurnKind::Entries,
        handler: Handler::Whole(set),
    },
    Operation {
        method: Method::DELETE,
        path: ENTRY,
        id: "deleteEntry",
        summary: "Deletes the entry of a key.",
        parameters: &[TENANT, APP, STORE, KEY, IF_MATCH, IF_NONE_MATCH],
        content: Content::Empty,
        answers: &[DELETED],
        refusals: &[404, 409, 412, 507],
        turns: TurnKind::Entries,
        handler: Handler::Whole(delete),
    },
];

const ENTRY: &str = "/v1/tenants/{tenant}/kv/{app}/{store}/keys/{key}";

/// The largest value that any store takes.
#[expect(clippy::cast_possible_truncation, reason = "1 MiB")]
const MAX_VALUE_BYTES: usize = KvStore::MAX_VALUE_BYTES as usize;

fn list_tenants(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let names = api.tenants()?.into_iter().map(|name| name.to_string()).collect();
    let (tenants, next) = page(names, call, |name| name.clone());
    Ok(Answer::document(StatusCode::OK, &TenantPage { tenants, next }))
}

fn list_stores(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let tenant = api.tenant(call.part(0))?;
    let used = match tenant.is_empty {
        true => Vec::new(),
        false => tenant.state.snapshot().and_then(|mut snapshot| snapshot.stores())?,
    };
    // Buckets are charged to the same quota.
    let used_bytes = used.iter().map(|store| store.bytes).sum();
    let all = merged_stores(&tenant.stores, &used);
    let (stores, next) = page(all, call, |store| format!("{}/{}", store.app, store.name));
    let max_bytes = tenant.is_deployed.then(|| tenant.state.max_bytes());
    Ok(Answer::document(StatusCode::OK, &StorePage { stores, used_bytes, max_bytes, next }))
}

fn list_keys(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let opened = OpenedStore::find(api, call)?;
    let prefix = call.text("prefix").unwrap_or_default();
    let page = match opened.tenant.is_empty {
        true => lacewing_store::kv::Page::default(),
        false => {
            opened.tenant.transaction().list(&opened.store, prefix, after(call), limit(call))?
        }
    };
    Ok(Answer::document(StatusCode::OK, &KeyPage { keys: page.keys, next: page.next }))
}

fn get(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let conditions = Preconditions::of(&call.headers)?;
    let opened = OpenedStore::find(api, call)?;
    let found = match opened.tenant.is_empty {
        true => None,
        false => opened.tenant.transaction().get(&opened.store, call.part(3))?,
    };
    let tag = found.as_ref().map(|entry| etag(entry.version));
    let is_unchanged = conditions.are_of_unchanged("entry", tag.as_deref())?;
    let (Some(entry), Some(tag)) = (found, tag) else { return Err(no_entry(call)) };
    if is_unchanged {
        return Ok(Answer::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, tag));
    }
    let content = AnswerContent::Bytes("application/octet-stream", Bytes::from(entry.value));
    let answer = Answer { content, ..Answer::empty(StatusCode::OK) }.with(header::ETAG, tag);
    Ok(match entry.expires_ms {
        Some(expires) => answer.with(EXPIRES, expires.to_string()),
        None => answer,
    })
}

fn set(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let conditions = Preconditions::of(&call.headers)?;
    let opened = OpenedStore::find(api, call)?.may_grow()?;
    let (store, key) = (&opened.store, call.part(3));
    let time_to_live = call.number("expires_in_s").map(Duration::from_secs);
    let version = opened.tenant.commit(|transaction| {
        if !conditions.is_empty() {
            let found = transaction.get(store, key)?;
            conditions.demand("entry", found.map(|entry| etag(entry.version)).as_deref())?;
        }
        transaction.set(store, key, call.content.to_vec(), time_to_live, Condition::Any)?;
        Ok(())
    })?;
    Ok(Answer::empty(StatusCode::NO_CONTENT).with(header::ETAG, etag(version)))
}

fn delete(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let conditions = Preconditions::of(&call.headers)?;
    let opened = OpenedStore::find(api, call)?;
    let (store, key) = (&opened.store, call.part(3));
    if opened.tenant.is_empty {
        conditions.demand("entry", None)?;
        return Err(no_entry(call));
    }
    opened.tenant.commit(|transaction| {
        let found = transaction.get(store, key)?;
        conditions.demand("entry", found.map(|entry| etag(entry.version)).as_deref())?;
        match transaction.delete(store, key, Condition::Any)? {
            true => Ok(()),
            false => Err(no_entry(call)),
        }
    })?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// The entity tag of a version, which is strong.
fn etag(version: Version) -> String {
    format!("\"{}\"", version.0)
}

fn no_entry(call: &Call) -> Refusal {
    let (app, store, key) = (call.part(1), call.part(2), call.part(3));
    let detail = format!("there is no entry {key:?} in the kv store `{app}/{store}`");
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

//! Operations on key-value stores: what a tenant has, and its entries.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, StatusCode, header};
use lacewing_base::KvStore;
use lacewing_store::kv::{Condition, MAX_KEY_BYTES, MAX_KEYS};

use super::{
    ControlApi,
    documents::{KeyPage, StorePage, TenantPage, merged_stores},
    opened::OpenedStore,
    operation::{
        Answer, Call, Content, Operation, Parameter, ParameterKind, Refusal, Success, TurnKind,
        schema,
    },
    preconditions::{Preconditions, Verdict, etag},
};

/// When an entry expires, in milliseconds since 1970.
pub(super) const EXPIRES: HeaderName = HeaderName::from_static("lacewing-expires-ms");

/// The names of a page, unless `limit` says otherwise.
const PAGE: u64 = 100;

/// The longest time to live: what JSON has exactly, in seconds.
const MAX_SECONDS: u64 = (1 << 53) - 1;

const TEXT: ParameterKind = ParameterKind::Text { max: MAX_KEY_BYTES };

const TENANT: Parameter = Parameter::path(
    "tenant",
    ParameterKind::Name,
    "The tenant; `local` for `up` without a host file.",
);
const APP: Parameter = Parameter::path("app", ParameterKind::Name, "The app of the store.");
const STORE: Parameter =
    Parameter::path("store", ParameterKind::Name, "The name of the store in its app.");
const KEY: Parameter = Parameter::path(
    "key",
    ParameterKind::Key,
    "The key, of 512 bytes of UTF-8 at most, with `/` as `%2F`.",
);
const LIMIT: Parameter = Parameter::query(
    "limit",
    ParameterKind::Number { min: 1, max: MAX_KEYS as u64 },
    "The most names of a page. 100 by default.",
);
const AFTER: Parameter = Parameter::query("after", TEXT, "The `next` of the page before.");
const IF_MATCH: Parameter =
    Parameter::header("if-match", "Versions as entity tags, or `*`: 412 unless the entry has one.");
const IF_NONE_MATCH: Parameter = Parameter::header(
    "if-none-match",
    "Versions as entity tags, or `*`: 412, or 304 of a read, if the entry has one.",
);

const DELETED: Success = Success {
    status: 204,
    description: "The write is on the disk.",
    content: Content::Empty,
    fields: &[],
};

const WRITTEN: Success = Success { fields: &[("ETag", "The version of the entry.")], ..DELETED };

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
        handler: list_tenants,
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
        handler: list_stores,
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
        handler: list_keys,
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
                    ("ETag", "The version of the entry."),
                    (
                        "lacewing-expires-ms",
                        "When the entry expires, in milliseconds since 1970; not there if it stays.",
                    ),
                ],
            },
            Success {
                status: 304,
                description: "The entry has a version of `if-none-match`.",
                content: Content::Empty,
                fields: &[("ETag", "The version of the entry.")],
            },
        ],
        refusals: &[404, 412],
        turns: TurnKind::Entries,
        handler: get,
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
        handler: set,
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
        handler: delete,
    },
];

const ENTRY: &str = "/v1/tenants/{tenant}/kv/{app}/{store}/keys/{key}";

/// The largest value that any store takes.
#[expect(clippy::cast_possible_truncation, reason = "1 MiB")]
const MAX_VALUE_BYTES: usize = KvStore::MAX_VALUE_BYTES as usize;

const fn document(description: &'static str, schema: super::operation::SchemaOf) -> Success {
    let content = Content::Json { max: 0, schema };
    Success { status: 200, description, content, fields: &[] }
}

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
    let used = used.into_iter().filter(|store| !store.id.starts_with(KvStore::BUCKET)).collect();
    let all = merged_stores(&tenant.stores, used);
    let (stores, next) = page(all, call, |store| format!("{}/{}", store.app, store.name));
    let max_bytes = tenant.is_deployed.then(|| tenant.state.max_bytes());
    Ok(Answer::document(StatusCode::OK, &StorePage { stores, used_bytes, max_bytes, next }))
}

/// The page of a list that a request asks for, and the name after which the next one begins.
fn page<T>(all: Vec<T>, call: &Call, name: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let limit = limit(call);
    let after = call.text("after").unwrap_or_default();
    let mut rest = all.into_iter().filter(|one| after.is_empty() || *name(one) > *after).peekable();
    let page: Vec<T> = rest.by_ref().take(limit).collect();
    let next = rest.peek().and_then(|_| page.last()).map(name);
    (page, next)
}

fn limit(call: &Call) -> usize {
    usize::try_from(call.number("limit").unwrap_or(PAGE)).unwrap_or(MAX_KEYS)
}

fn list_keys(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let opened = OpenedStore::find(api, call)?;
    let prefix = call.text("prefix").unwrap_or_default();
    let after = call.text("after").filter(|after| !after.is_empty());
    let page = match opened.is_empty {
        true => lacewing_store::kv::Page::default(),
        false => opened.transaction().list(&opened.store, prefix, after, limit(call))?,
    };
    Ok(Answer::document(StatusCode::OK, &KeyPage { keys: page.keys, next: page.next }))
}

fn get(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let conditions = Preconditions::of(&call.headers)?;
    let opened = OpenedStore::find(api, call)?;
    let found = match opened.is_empty {
        true => None,
        false => opened.transaction().get(&opened.store, call.part(3))?,
    };
    let version = found.as_ref().map(|entry| entry.version);
    let verdict = conditions.check(version);
    if verdict == Verdict::NoMatch {
        conditions.demand(version)?;
    }
    let entry = found.ok_or_else(|| no_entry(call))?;
    if verdict == Verdict::Match {
        let unchanged = Answer::empty(StatusCode::NOT_MODIFIED);
        return Ok(unchanged.with(header::ETAG, etag(entry.version)));
    }
    let content = Some(("application/octet-stream", Bytes::from(entry.value)));
    let answer = Answer { content, ..Answer::empty(StatusCode::OK) };
    let answer = answer.with(header::ETAG, etag(entry.version));
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
    let version = opened.commit(|transaction| {
        if !conditions.is_empty() {
            let found = transaction.get(store, key)?;
            conditions.demand(found.map(|entry| entry.version))?;
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
    if opened.is_empty {
        conditions.demand(None)?;
        return Err(no_entry(call));
    }
    opened.commit(|transaction| {
        let found = transaction.get(store, key)?;
        conditions.demand(found.map(|entry| entry.version))?;
        match transaction.delete(store, key, Condition::Any)? {
            true => Ok(()),
            false => Err(no_entry(call)),
        }
    })?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

fn no_entry(call: &Call) -> Refusal {
    let (app, store, key) = (call.part(1), call.part(2), call.part(3));
    let detail = format!("there is no entry {key:?} in the kv store `{app}/{store}`");
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

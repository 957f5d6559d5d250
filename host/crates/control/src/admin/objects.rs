//! Operations on buckets: those that a tenant has, and their objects, whose bodies go through in
//! pieces.

use http::{HeaderMap, Method, StatusCode, header};
use lacewing_store::{
    kv::Condition,
    object::{Attributes, ByteRange, MAX_OBJECT_KEY_BYTES, Object, ObjectWriter},
};
use lacewing_telemetry::admin::ApiContent;
use tokio::runtime::Handle;

use super::{
    ControlApi,
    documents::{BucketPage, ObjectPage},
    opened::OpenedBucket,
    operation::{
        Answer, AnswerContent, Call, Content, Handler, Operation, Parameter, ParameterKind,
        Refusal, Success, TurnKind, schema,
    },
    preconditions::Preconditions,
    range,
    shared::{
        AFTER, DELETED, ETAG, IF_MATCH, IF_NONE_MATCH, LIMIT, TENANT, UNCHANGED, WRITTEN, after,
        document, limit, page,
    },
};

const BUCKET: Parameter = Parameter::path(
    "bucket",
    ParameterKind::Bucket,
    "The bucket as clients of S3 say it: `APP.NAME`, or the name with which a client made it.",
);
const KEY: Parameter = Parameter::path(
    "key",
    ParameterKind::Key { max: MAX_OBJECT_KEY_BYTES },
    "The key, of 1,024 bytes of UTF-8 at most, with `/` as `%2F`.",
);

const OBJECTS: &str = "/v1/tenants/{tenant}/buckets/{bucket}/objects";
const OBJECT: &str = "/v1/tenants/{tenant}/buckets/{bucket}/objects/{key}";

/// The media type of an object whose writer said none.
const UNKNOWN: &str = "application/octet-stream";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: Method::GET,
        path: "/v1/tenants/{tenant}/buckets",
        id: "listBuckets",
        summary: "Lists the buckets of a tenant, with what each uses of its quota.",
        parameters: &[TENANT, AFTER, LIMIT],
        content: Content::Empty,
        answers: &[document("A page of buckets.", schema::<BucketPage>)],
        refusals: &[404],
        turns: TurnKind::Entries,
        handler: Handler::Whole(list_buckets),
    },
    Operation {
        method: Method::GET,
        path: OBJECTS,
        id: "listObjects",
        summary: "Lists the objects of a bucket whose keys begin with a prefix.",
        parameters: &[
            TENANT,
            BUCKET,
            Parameter::query(
                "prefix",
                ParameterKind::Text { max: MAX_OBJECT_KEY_BYTES },
                "Only keys that begin so.",
            ),
            AFTER,
            LIMIT,
        ],
        content: Content::Empty,
        answers: &[document("A page of objects.", schema::<ObjectPage>)],
        refusals: &[404],
        turns: TurnKind::Entries,
        handler: Handler::Whole(list_objects),
    },
    Operation {
        method: Method::GET,
        path: OBJECT,
        id: "getObject",
        summary: "Reads an object, or a part of it.",
        parameters: &[
            TENANT,
            BUCKET,
            KEY,
            IF_MATCH,
            IF_NONE_MATCH,
            Parameter::header(
                "range",
                ParameterKind::Range,
                "The bytes that are asked for. More ranges than one ask for all bytes.",
            ),
        ],
        content: Content::Empty,
        answers: &[
            Success {
                status: 200,
                description: "The body of the object, with its media type.",
                content: Content::Stream,
                fields: &[ETAG, ("Accept-Ranges", "`bytes`.")],
            },
            Success {
                status: 206,
                description: "The part of the body that was asked for.",
                content: Content::Stream,
                fields: &[ETAG, ("Content-Range", "The part, and the size of the whole body.")],
            },
            UNCHANGED,
        ],
        refusals: &[404, 412, 416],
        turns: TurnKind::Bodies,
        handler: Handler::Whole(get),
    },
    Operation {
        method: Method::PUT,
        path: OBJECT,
        id: "putObject",
        summary: "Sets an object. `content-type` is its media type.",
        parameters: &[TENANT, BUCKET, KEY, IF_MATCH, IF_NONE_MATCH],
        content: Content::Stream,
        answers: &[WRITTEN],
        refusals: &[404, 409, 412, 507],
        turns: TurnKind::Bodies,
        handler: Handler::Streamed(put),
    },
    Operation {
        method: Method::DELETE,
        path: OBJECT,
        id: "deleteObject",
        summary: "Deletes an object.",
        parameters: &[TENANT, BUCKET, KEY, IF_MATCH, IF_NONE_MATCH],
        content: Content::Empty,
        answers: &[DELETED],
        refusals: &[404, 409, 412, 507],
        turns: TurnKind::Entries,
        handler: Handler::Whole(delete),
    },
];

fn list_buckets(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let tenant = api.tenant(call.part(0))?;
    let found = tenant.buckets()?;
    let (buckets, next) = page(found.documents(), call, |bucket| bucket.name.clone());
    let max_bytes = tenant.is_deployed.then(|| tenant.state.max_bytes());
    let page = BucketPage { buckets, used_bytes: found.used_bytes(), max_bytes, next };
    Ok(Answer::document(StatusCode::OK, &page))
}

fn list_objects(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let opened = OpenedBucket::find(api, call)?;
    let prefix = call.text("prefix").unwrap_or_default();
    let page = match opened.tenant.is_empty {
        true => lacewing_store::ObjectPage::default(),
        false => {
            let mut transaction = opened.tenant.transaction();
            transaction.list_objects(&opened.bucket, prefix, None, after(call), limit(call))?
        }
    };
    Ok(Answer::document(StatusCode::OK, &ObjectPage::from(page)))
}

fn get(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let conditions = Preconditions::of(&call.headers)?;
    let opened = OpenedBucket::find(api, call)?;
    let (bucket, key) = (&opened.bucket, call.part(2));
    let mut transaction = opened.tenant.transaction();
    let found = match opened.tenant.is_empty {
        true => None,
        false => transaction.object(bucket, key)?.map(|(object, _)| object),
    };
    let tag = found.as_ref().map(tag);
    let is_unchanged = conditions.are_of_unchanged("object", tag.as_deref())?;
    let (Some(object), Some(tag)) = (found, tag) else { return Err(no_object(call)) };
    if is_unchanged {
        return Ok(Answer::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, tag));
    }
    let (status, part) = match range::asked(&call.headers, &tag, object.bytes)? {
        // HEAD has no part of a body.
        Some(part) if !call.is_head => (StatusCode::PARTIAL_CONTENT, part),
        _ => (StatusCode::OK, (0, object.bytes)),
    };
    let (first, bytes) = part;
    let last = (first + bytes).saturating_sub(1);
    let range = ByteRange::Between(first, last);
    let mut reader = transaction.read_object(bucket, key, &object, range)?;
    // A file that cannot be read at all is an error, and no answer that breaks off.
    Handle::current().block_on(reader.ready())?;
    let kind = object.attributes.content_type.filter(|kind| is_field(kind));
    let answer = Answer { content: AnswerContent::Object(reader), ..Answer::empty(status) };
    let answer = answer
        .with(header::ETAG, tag)
        .with(header::ACCEPT_RANGES, "bytes".to_owned())
        .with(header::CONTENT_LENGTH, bytes.to_string())
        .with(header::CONTENT_TYPE, kind.unwrap_or_else(|| UNKNOWN.to_owned()));
    Ok(match status {
        StatusCode::PARTIAL_CONTENT => {
            answer.with(header::CONTENT_RANGE, format!("bytes {first}-{last}/{}", object.bytes))
        }
        _ => answer,
    })
}

fn put(api: &ControlApi, call: &Call, mut content: ApiContent) -> Result<Answer, Refusal> {
    let conditions = Preconditions::of(&call.headers)?;
    let opened = OpenedBucket::find_to_write(api, call)?;
    let (bucket, key) = (&opened.bucket, call.part(2));
    let content_type = content_type(&call.headers)?;
    let attributes = Attributes { content_type, ..Default::default() };
    if !opened.tenant.is_empty {
        // So that no content is taken in vain.
        let found = opened.tenant.transaction().object(bucket, key)?;
        conditions.demand("object", found.map(|(object, _)| tag(&object)).as_deref())?;
    }
    let mut writer = ObjectWriter::new(opened.tenant.state.clone(), bucket.max_object_bytes);
    let staged = Handle::current().block_on(async {
        while let Some(bytes) = content.next().await? {
            writer.write(bytes).await?;
        }
        writer.finish().await.map_err(Refusal::from)
    })?;
    opened.tenant.commit(|transaction| {
        if !conditions.is_empty() {
            let found = transaction.object(bucket, key)?;
            conditions.demand("object", found.map(|(object, _)| tag(&object)).as_deref())?;
        }
        let (staged, attributes) = (staged.clone(), attributes.clone());
        transaction.put_object(bucket, key, staged, attributes, Condition::Any)?;
        Ok(())
    })?;
    let tag = format!("\"{}\"", staged.etag());
    Ok(Answer::empty(StatusCode::NO_CONTENT).with(header::ETAG, tag))
}

fn delete(api: &ControlApi, call: &Call) -> Result<Answer, Refusal> {
    let conditions = Preconditions::of(&call.headers)?;
    let opened = OpenedBucket::find(api, call)?;
    let (bucket, key) = (&opened.bucket, call.part(2));
    if opened.tenant.is_empty {
        conditions.demand("object", None)?;
        return Err(no_object(call));
    }
    opened.tenant.commit(|transaction| {
        let found = transaction.object(bucket, key)?;
        conditions.demand("object", found.map(|(object, _)| tag(&object)).as_deref())?;
        match transaction.delete_object(bucket, key, Condition::Any)? {
            true => Ok(()),
            false => Err(no_object(call)),
        }
    })?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// The entity tag of an object, which is strong.
fn tag(object: &Object) -> String {
    format!("\"{}\"", object.etag)
}

/// The media type that a request says.
fn content_type(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let kind = kind.to_str().ok().filter(|kind| !kind.is_empty());
    kind.map(|kind| Some(kind.to_owned())).ok_or_else(|| {
        let detail = "`content-type` is no media type such as `text/plain`";
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })
}

/// Whether a text of a guest can be the value of a field.
fn is_field(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn no_object(call: &Call) -> Refusal {
    let (bucket, key) = (call.part(1), call.part(2));
    let detail = format!("there is no object {key:?} in the bucket `{bucket}`");
    Refusal::new(StatusCode::NOT_FOUND, detail)
}

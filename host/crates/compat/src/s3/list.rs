//! Listings of objects.

use data_encoding::BASE64URL_NOPAD;
use lacewing_store::{ListedObject, ObjectPage, Transaction};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, EncodingType, ListObjectVersionsInput, ListObjectVersionsOutput,
        ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
        ObjectStorageClass, ObjectVersion, Owner,
    },
    s3_error,
};

use super::{
    caller::Caller,
    condition::{etag, modified},
};

/// The most objects and beginnings of one page, as in S3.
const MAX_KEYS: i32 = 1000;

/// The id of the version of an object in a bucket without versions, as in S3.
const ONLY_VERSION: &str = "null";

/// The bytes that stay as they are in a key with `encoding-type=url`.
const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/').remove(b'*');

/// A page that a client asks for.
struct Asked<'a> {
    bucket: &'a str,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: Option<&'a str>,
    max_keys: i32,
}

async fn page(caller: &Caller, asked: &Asked<'_>) -> S3Result<ObjectPage> {
    let bucket = caller.bucket(asked.bucket).await?;
    if asked.max_keys < 0 {
        return Err(s3_error!(InvalidArgument, "max-keys is negative"));
    }
    let limit = usize::try_from(asked.max_keys.min(MAX_KEYS)).unwrap_or_default();
    if limit == 0 {
        return Ok(ObjectPage::default());
    }
    let Asked { prefix, delimiter, after, .. } = asked;
    let list = |transaction: &mut Transaction| {
        transaction.list_objects(&bucket, prefix, *delimiter, *after, limit)
    };
    caller.run(list).await
}

/// The names of a listing, encoded as a client asks.
pub(super) struct Encoding(Option<EncodingType>);

impl Encoding {
    pub(super) fn new(asked: Option<EncodingType>) -> S3Result<Encoding> {
        match &asked {
            Some(encoding) if encoding.as_str() != EncodingType::URL => {
                Err(s3_error!(InvalidArgument, "encoding-type is `url`"))
            }
            _ => Ok(Encoding(asked)),
        }
    }

    pub(super) fn name(&self, name: &str) -> String {
        match self.0 {
            Some(_) => utf8_percent_encode(name, PLAIN).to_string(),
            None => name.to_owned(),
        }
    }

    fn object(&self, listed: &ListedObject, owner: Option<Owner>) -> Object {
        let ListedObject { key, object, .. } = listed;
        Object {
            e_tag: Some(etag(object)),
            key: Some(self.name(key)),
            last_modified: Some(modified(object)),
            owner,
            size: i64::try_from(object.bytes).ok(),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            ..Default::default()
        }
    }

    fn delimiter(&self, delimiter: Option<&str>) -> Option<String> {
        let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
        delimiter.map(|delimiter| self.name(delimiter))
    }

    pub(super) fn into_type(self) -> Option<EncodingType> {
        self.0
    }

    pub(super) fn prefix(&self, prefix: &str) -> CommonPrefix {
        CommonPrefix { prefix: Some(self.name(prefix)) }
    }
}

/// The owner of all objects of a tenant.
pub(super) fn owner(caller: &Caller) -> Owner {
    let name = caller.key.tenant.to_string();
    Owner { display_name: Some(name.clone()), id: Some(name) }
}

pub(super) async fn list(
    request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let asked = Asked {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref(),
        after: input.marker.as_deref().filter(|marker| !marker.is_empty()),
        max_keys: input.max_keys.unwrap_or(MAX_KEYS),
    };
    let page = page(&caller, &asked).await?;
    let encoding = Encoding::new(input.encoding_type)?;
    let told = |listed: &ListedObject| encoding.object(listed, Some(owner(&caller)));
    let has_delimiter = asked.delimiter.is_some_and(|delimiter| !delimiter.is_empty());
    Ok(S3Response::new(ListObjectsOutput {
        contents: Some(page.objects.iter().map(told).collect()),
        common_prefixes: Some(page.prefixes.iter().map(|name| encoding.prefix(name)).collect()),
        delimiter: encoding.delimiter(input.delimiter.as_deref()),
        is_truncated: Some(page.next.is_some()),
        marker: Some(encoding.name(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(asked.max_keys),
        // A client goes on after the last key, unless beginnings are listed.
        next_marker: page.next.filter(|_| has_delimiter).map(|next| encoding.name(&next)),
        prefix: Some(encoding.name(asked.prefix)),
        name: Some(input.bucket.clone()),
        encoding_type: encoding.0,
        ..Default::default()
    }))
}

pub(super) async fn list_v2(
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let token = input.continuation_token.as_deref().map(read_token).transpose()?;
    let asked = Asked {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref(),
        after: token.as_deref().or(input.start_after.as_deref()).filter(|after| !after.is_empty()),
        max_keys: input.max_keys.unwrap_or(MAX_KEYS),
    };
    let page = page(&caller, &asked).await?;
    let encoding = Encoding::new(input.encoding_type)?;
    let with_owner = input.fetch_owner.unwrap_or(false);
    let told = |listed: &ListedObject| encoding.object(listed, with_owner.then(|| owner(&caller)));
    let count = page.objects.len() + page.prefixes.len();
    Ok(S3Response::new(ListObjectsV2Output {
        contents: Some(page.objects.iter().map(told).collect()),
        common_prefixes: Some(page.prefixes.iter().map(|name| encoding.prefix(name)).collect()),
        continuation_token: input.continuation_token.clone(),
        delimiter: encoding.delimiter(input.delimiter.as_deref()),
        is_truncated: Some(page.next.is_some()),
        key_count: i32::try_from(count).ok(),
        max_keys: Some(asked.max_keys),
        next_continuation_token: page.next.map(|next| BASE64URL_NOPAD.encode(next.as_bytes())),
        prefix: Some(encoding.name(asked.prefix)),
        start_after: input.start_after.as_deref().map(|after| encoding.name(after)),
        name: Some(input.bucket.clone()),
        encoding_type: encoding.0,
        ..Default::default()
    }))
}

/// The versions of objects. A bucket keeps one version of each.
pub(super) async fn versions(
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let asked = Asked {
        bucket: &input.bucket,
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref(),
        after: input.key_marker.as_deref().filter(|marker| !marker.is_empty()),
        max_keys: input.max_keys.unwrap_or(MAX_KEYS),
    };
    let page = page(&caller, &asked).await?;
    let encoding = Encoding::new(input.encoding_type)?;
    let told = |ListedObject { key, object, .. }: &ListedObject| ObjectVersion {
        e_tag: Some(etag(object)),
        is_latest: Some(true),
        key: Some(encoding.name(key)),
        last_modified: Some(modified(object)),
        owner: Some(owner(&caller)),
        size: i64::try_from(object.bytes).ok(),
        version_id: Some(ONLY_VERSION.to_owned()),
        ..Default::default()
    };
    let next_id = page.next.as_ref().map(|_| ONLY_VERSION.to_owned());
    Ok(S3Response::new(ListObjectVersionsOutput {
        versions: Some(page.objects.iter().map(told).collect()),
        common_prefixes: Some(page.prefixes.iter().map(|name| encoding.prefix(name)).collect()),
        delimiter: encoding.delimiter(input.delimiter.as_deref()),
        is_truncated: Some(page.next.is_some()),
        key_marker: Some(encoding.name(input.key_marker.as_deref().unwrap_or_default())),
        max_keys: Some(asked.max_keys),
        next_key_marker: page.next.map(|next| encoding.name(&next)),
        next_version_id_marker: next_id,
        prefix: Some(encoding.name(asked.prefix)),
        name: Some(input.bucket.clone()),
        encoding_type: encoding.0,
        ..Default::default()
    }))
}

fn read_token(token: &str) -> S3Result<String> {
    let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| s3_error!(InvalidArgument, "the continuation token is none"))
}

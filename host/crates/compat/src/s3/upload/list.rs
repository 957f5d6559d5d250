//! The listing of uploads that are under way.

use std::time::{Duration, UNIX_EPOCH};

use lacewing_store::{Transaction, kv::KvError};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload,
        Timestamp,
    },
};

use super::{
    super::{
        caller::Caller,
        list::{Encoding, owner},
    },
    MAX_UPLOADS, Upload, Uploads,
};

/// An upload, and its id.
type Listed = (Upload, String);

impl Uploads {
    /// All uploads, in the order of their keys, and for each key of their beginnings.
    fn all(&self, transaction: &mut Transaction) -> Result<Vec<Listed>, KvError> {
        let ids = transaction.list(&self.uploads, "", None, MAX_UPLOADS)?.keys;
        let mut all: Vec<Listed> = Vec::with_capacity(ids.len());
        for id in ids {
            let entry = transaction.get(&self.uploads, &id)?;
            let upload = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
            all.extend(upload.map(|upload| (upload, id)));
        }
        all.sort_by(|(a, a_id), (b, b_id)| {
            (&a.key, a.begun_ms, a_id).cmp(&(&b.key, b.begun_ms, b_id))
        });
        Ok(all)
    }
}

/// The uploads after those that a client has seen.
fn after(mut all: Vec<Listed>, key: Option<&str>, id: Option<&str>) -> Vec<Listed> {
    let Some(key) = key else { return all };
    let is_seen = |(upload, known): &Listed| upload.key == key && id == Some(known);
    match all.iter().position(is_seen) {
        Some(at) => drop(all.drain(..=at)),
        None => all.retain(|(upload, _)| upload.key.as_str() > key),
    }
    all
}

/// A part of a listing.
#[derive(Default)]
struct Page {
    uploads: Vec<Listed>,
    /// The beginnings of keys up to the delimiter.
    prefixes: Vec<String>,
    /// The key, and the id of an upload, after which the listing goes on.
    next: Option<(String, Option<String>)>,
}

fn page(all: Vec<Listed>, prefix: &str, delimiter: Option<&str>, limit: usize) -> Page {
    let delimiter = delimiter.filter(|delimiter| !delimiter.is_empty());
    let mut page = Page::default();
    let mut last = None;
    for (upload, id) in all.into_iter().filter(|(upload, _)| upload.key.starts_with(prefix)) {
        let rest = &upload.key[prefix.len()..];
        let beginning = delimiter.and_then(|delimiter| {
            rest.find(delimiter).map(|at| &upload.key[..prefix.len() + at + delimiter.len()])
        });
        if beginning.is_some() && beginning == page.prefixes.last().map(String::as_str) {
            continue;
        }
        if page.uploads.len() + page.prefixes.len() == limit {
            page.next = last;
            return page;
        }
        match beginning {
            Some(beginning) => {
                last = Some((beginning.to_owned(), None));
                page.prefixes.push(beginning.to_owned());
            }
            None => {
                last = Some((upload.key.clone(), Some(id.clone())));
                page.uploads.push((upload, id));
            }
        }
    }
    page
}

fn told(caller: &Caller, encoding: &Encoding, (upload, id): Listed) -> MultipartUpload {
    let since = Duration::from_millis(u64::try_from(upload.begun_ms).unwrap_or_default());
    MultipartUpload {
        initiated: Some(Timestamp::from(UNIX_EPOCH + since)),
        key: Some(encoding.name(&upload.key)),
        owner: Some(owner(caller)),
        upload_id: Some(id),
        ..Default::default()
    }
}

pub(in super::super) async fn list(
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let caller = Caller::of(&request)?;
    let input = request.input;
    let uploads = Uploads::of(caller.bucket(&input.bucket).await?);
    let encoding = Encoding::new(input.encoding_type)?;
    let all = caller.run(|transaction| uploads.all(transaction)).await?;
    let all = after(all, input.key_marker.as_deref(), input.upload_id_marker.as_deref());
    let prefix = input.prefix.unwrap_or_default();
    let max_uploads = input.max_uploads.unwrap_or(1000).clamp(0, 1000);
    let limit = usize::try_from(max_uploads).unwrap_or_default();
    let Page { uploads, prefixes, next } = page(all, &prefix, input.delimiter.as_deref(), limit);
    let prefixes: Vec<CommonPrefix> =
        prefixes.iter().map(|prefix| encoding.prefix(prefix)).collect();
    let is_truncated = Some(next.is_some());
    let (next_key_marker, next_id) = next.unzip();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        common_prefixes: Some(prefixes),
        delimiter: input.delimiter,
        is_truncated,
        key_marker: input.key_marker,
        max_uploads: Some(max_uploads),
        next_key_marker,
        next_upload_id_marker: next_id.flatten(),
        prefix: Some(prefix),
        upload_id_marker: input.upload_id_marker,
        uploads: Some(uploads.into_iter().map(|one| told(&caller, &encoding, one)).collect()),
        encoding_type: encoding.into_type(),
        ..Default::default()
    }))
}

//! The attributes of objects, as requests and responses say them.

use std::collections::BTreeMap;

use lacewing_store::object::Attributes;
use s3s::{
    S3Result,
    dto::{Metadata, Timestamp, TimestampFormat},
    s3_error,
};

/// The most tags of an object, as in S3.
const MAX_TAGS: usize = 10;

/// The fields of a write.
#[derive(Default)]
pub(super) struct Said {
    pub(super) content_type: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) website_redirect_location: Option<String>,
    pub(super) metadata: Option<Metadata>,
    pub(super) tagging: Option<String>,
}

/// The fields of a write that the input of an operation has.
macro_rules! said {
    ($input:ident) => {
        $crate::s3::attributes::Said {
            content_type: $input.content_type,
            cache_control: $input.cache_control,
            content_disposition: $input.content_disposition,
            content_encoding: $input.content_encoding,
            content_language: $input.content_language,
            expires: $input.expires,
            website_redirect_location: $input.website_redirect_location,
            metadata: $input.metadata,
            tagging: $input.tagging,
        }
    };
}

pub(super) use said;

impl Said {
    pub(super) fn attributes(self) -> S3Result<Attributes> {
        // A client that streams says `aws-chunked` besides the encoding of the object.
        let content_encoding = self.content_encoding.map(|encoding| {
            let codings = encoding.split(',').map(str::trim);
            codings.filter(|coding| *coding != "aws-chunked").collect::<Vec<_>>().join(", ")
        });
        let headers = [
            ("cache-control", self.cache_control),
            ("content-disposition", self.content_disposition),
            ("content-encoding", content_encoding.filter(|encoding| !encoding.is_empty())),
            ("content-language", self.content_language),
            ("expires", self.expires.map(|time| date(&time)).transpose()?),
            ("x-amz-website-redirect-location", self.website_redirect_location),
        ];
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        let metadata = self.metadata.unwrap_or_default();
        let metadata = metadata.into_iter().map(|(name, value)| (name.to_lowercase(), value));
        Ok(Attributes {
            content_type: self.content_type,
            headers: headers.collect(),
            metadata: metadata.collect(),
            tags: parse_tags(self.tagging.as_deref().unwrap_or_default())?,
            checksums: BTreeMap::new(),
        })
    }
}

fn date(time: &Timestamp) -> S3Result<String> {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::HttpDate, &mut text);
    written.map_err(|_| s3_error!(InvalidArgument, "the time is out of range"))?;
    String::from_utf8(text).map_err(|_| s3_error!(InvalidArgument))
}

/// Tags in the form of a query.
fn parse_tags(text: &str) -> S3Result<BTreeMap<String, String>> {
    let pairs = form_urlencoded::parse(text.as_bytes());
    check_tags(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())))
}

/// Checks tags as S3 does: at most 10, each name once, of up to 128 and 256 characters.
pub(super) fn check_tags(
    pairs: impl Iterator<Item = (String, String)>,
) -> S3Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for (name, value) in pairs {
        let is_name = (1..=128).contains(&name.chars().count());
        if !is_name || value.chars().count() > 256 {
            return Err(s3_error!(InvalidTag, "a tag has 1 to 128 characters, a value up to 256"));
        }
        if tags.insert(name, value).is_some() {
            return Err(s3_error!(InvalidTag, "a tag occurs twice"));
        }
    }
    match tags.len() {
        0..=MAX_TAGS => Ok(tags),
        _ => Err(s3_error!(InvalidTag, "an object has at most {MAX_TAGS} tags")),
    }
}

pub(super) fn header(attributes: &Attributes, name: &str) -> Option<String> {
    attributes.headers.get(name).cloned()
}

pub(super) fn expires(attributes: &Attributes) -> Option<Timestamp> {
    let text = attributes.headers.get("expires")?;
    Timestamp::parse(TimestampFormat::HttpDate, text).ok()
}

pub(super) fn metadata(attributes: &Attributes) -> Option<Metadata> {
    let pairs = attributes.metadata.iter();
    Some(pairs.map(|(name, value)| (name.clone(), value.clone())).collect())
}

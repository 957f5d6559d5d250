//! Calls from pages of other origins (CORS, of the Fetch standard), by the rules of a bucket.
//!
//! A bucket belongs to the tenant of an access key. So a preflight is answered for a presigned URL,
//! whose query names the key. A preflight without a key is refused.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use s3s::{Body, S3Result, dto::CORSRule, s3_error};
use serde::{Deserialize, Serialize};

use super::{
    caller::{Caller, Rights},
    settings::cors_rules,
};

/// A rule of a bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rule {
    origins: Vec<String>,
    methods: Vec<String>,
    headers: Vec<String>,
    expose: Vec<String>,
    id: Option<String>,
    max_age_s: Option<i32>,
}

impl TryFrom<CORSRule> for Rule {
    type Error = s3s::S3Error;

    fn try_from(rule: CORSRule) -> S3Result<Rule> {
        let known = ["GET", "PUT", "HEAD", "POST", "DELETE"];
        if let Some(method) =
            rule.allowed_methods.iter().find(|method| !known.contains(&&***method))
        {
            return Err(s3_error!(InvalidRequest, "{method} is no method of a rule"));
        }
        let headers = rule.allowed_headers.unwrap_or_default();
        let patterns = rule.allowed_origins.iter().chain(&headers);
        if let Some(pattern) = patterns.clone().find(|pattern| pattern.matches('*').count() > 1) {
            return Err(s3_error!(InvalidRequest, "{pattern} has more than one `*`"));
        }
        Ok(Rule {
            origins: rule.allowed_origins,
            methods: rule.allowed_methods,
            headers,
            expose: rule.expose_headers.unwrap_or_default(),
            id: rule.id,
            max_age_s: rule.max_age_seconds,
        })
    }
}

impl From<Rule> for CORSRule {
    fn from(rule: Rule) -> CORSRule {
        CORSRule {
            allowed_headers: Some(rule.headers).filter(|headers| !headers.is_empty()),
            allowed_methods: rule.methods,
            allowed_origins: rule.origins,
            expose_headers: Some(rule.expose).filter(|headers| !headers.is_empty()),
            id: rule.id,
            max_age_seconds: rule.max_age_s,
        }
    }
}

/// Whether a pattern with at most one star covers a text.
fn covers(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern.eq_ignore_ascii_case(text),
        Some((begin, end)) => {
            text.len() >= begin.len() + end.len() && text.starts_with(begin) && text.ends_with(end)
        }
    }
}

impl Rule {
    fn allows(&self, origin: &str, method: &str) -> bool {
        self.origins.iter().any(|pattern| covers(pattern, origin))
            && self.methods.iter().any(|allowed| allowed == method)
    }

    fn allows_headers(&self, asked: &str) -> bool {
        let mut asked = asked.split(',').map(str::trim).filter(|name| !name.is_empty());
        asked.all(|name| {
            let name = name.to_ascii_lowercase();
            self.headers.iter().any(|pattern| covers(&pattern.to_ascii_lowercase(), &name))
        })
    }

    /// The fields of a response to a page of an origin.
    fn fields(&self, origin: &str) -> Vec<(HeaderName, String)> {
        let any = self.origins.iter().any(|pattern| pattern == "*");
        let origin = if any { "*" } else { origin };
        let mut fields = vec![
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned()),
            (header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.join(", ")),
            (header::VARY, "Origin".to_owned()),
        ];
        if !self.expose.is_empty() {
            fields.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.join(", ")));
        }
        if let Some(seconds) = self.max_age_s {
            fields.push((header::ACCESS_CONTROL_MAX_AGE, seconds.to_string()));
        }
        fields
    }
}

/// The facts of a request from a page.
pub(super) struct PageRequest {
    origin: String,
    method: String,
    headers: String,
    access_key: Option<String>,
    bucket: String,
    is_preflight: bool,
}

impl PageRequest {
    /// The facts, if the request is one of a page.
    pub(super) fn of<B>(request: &Request<B>) -> Option<PageRequest> {
        let text = |name: HeaderName| Some(request.headers().get(name)?.to_str().ok()?.to_owned());
        let origin = text(header::ORIGIN)?;
        let is_preflight = request.method() == Method::OPTIONS;
        let method = match is_preflight {
            true => text(header::ACCESS_CONTROL_REQUEST_METHOD)?,
            false => request.method().to_string(),
        };
        let query = request.uri().query().unwrap_or_default();
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let in_query = pairs.find(|(name, _)| name == "X-Amz-Credential");
        let in_query = in_query.map(|(_, value)| value.into_owned());
        let authorization = text(header::AUTHORIZATION).unwrap_or_default();
        let in_field = authorization.split_once("Credential=").map(|(_, rest)| rest.to_owned());
        let credential = in_query.or(in_field);
        let access_key =
            credential.and_then(|credential| Some(credential.split('/').next()?.to_owned()));
        let bucket = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
        let headers = text(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
        Some(PageRequest { origin, method, headers, access_key, bucket, is_preflight })
    }

    pub(super) fn is_preflight(&self) -> bool {
        self.is_preflight
    }

    /// The fields of the response, if a rule of the bucket allows the request.
    pub(super) async fn allowed(&self, rights: &Rights) -> Option<HeaderMap> {
        let caller: Caller = rights.unproven(self.access_key.as_deref()?, &self.bucket).await?;
        let rules = cors_rules(&caller, &self.bucket).await.ok()?;
        let rule = rules.iter().find(|rule| {
            rule.allows(&self.origin, &self.method)
                && (!self.is_preflight || rule.allows_headers(&self.headers))
        })?;
        let mut fields = rule.fields(&self.origin);
        if self.is_preflight && !self.headers.is_empty() {
            fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, self.headers.clone()));
        }
        let field =
            |(name, value): (HeaderName, String)| Some((name, HeaderValue::try_from(value).ok()?));
        Some(fields.into_iter().filter_map(field).collect())
    }
}

/// The answer to a preflight.
pub(super) fn preflight(fields: Option<HeaderMap>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    match fields {
        Some(fields) => *response.headers_mut() = fields,
        None => *response.status_mut() = StatusCode::FORBIDDEN,
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> Rule {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Rule {
            origins: texts(origins),
            methods: texts(methods),
            headers: texts(headers),
            expose: Vec::new(),
            id: None,
            max_age_s: None,
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let pages = rule(&["https://*.example.com", "http://localhost"], &["GET"], &[]);
        for (origin, method, allowed) in [
            ("https://a.example.com", "GET", true),
            ("http://localhost", "GET", true),
            ("https://a.example.com", "PUT", false),
            ("https://example.com", "GET", false),
            ("https://a.example.com.evil", "GET", false),
        ] {
            assert_eq!(pages.allows(origin, method), allowed, "{origin} {method}");
        }
    }

    #[test]
    fn each_header_of_a_preflight_is_allowed_or_none() {
        let pages = rule(&["*"], &["PUT"], &["content-type", "x-amz-*"]);
        assert!(pages.allows_headers(""));
        assert!(pages.allows_headers("Content-Type, x-amz-date"));
        assert!(!pages.allows_headers("content-type, x-other"));
    }
}

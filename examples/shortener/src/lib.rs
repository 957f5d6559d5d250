//! Short URLs that expire, with a count of their hits.
//!
//! An invocation is a transaction: however many clients ask at once, each hit counts once.

use std::time::Duration;

use lacewing_sdk::http::{StatusCode, header};
use lacewing_sdk::{Error, IntoResponse, Json, Path, Result, Routes, kv};
use serde::{Deserialize, Serialize};

#[lacewing_sdk::http]
fn shortener(routes: Routes) -> Routes {
    routes.post("/", shorten).get("/{code}", follow).get("/{code}/hits", hits)
}

/// The time for which a link stays if the client does not say.
const DAY_S: u64 = 24 * 60 * 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewLink {
    url: String,
    expires_in_s: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Link {
    code: String,
    url: String,
}

#[derive(Serialize)]
struct Hits {
    code: String,
    hits: i64,
}

fn shorten(Json(new): Json<NewLink>) -> Result<(StatusCode, Json<Link>)> {
    if !["http://", "https://"].iter().any(|scheme| new.url.starts_with(scheme)) {
        return Err(Error::bad_request("`url` must begin with http:// or https://"));
    }
    let links = kv::open("links")?;
    let code = code(links.increment("last", 1)?);
    let link = Link { code, url: new.url };
    let time = Duration::from_secs(new.expires_in_s.unwrap_or(DAY_S));
    links.write(&format!("link:{}", link.code)).expires_in(time).json(&link)?;
    Ok((StatusCode::CREATED, Json(link)))
}

fn follow(Path(code): Path<String>) -> Result<impl IntoResponse> {
    let links = kv::open("links")?;
    let link: Option<Link> = links.get(&format!("link:{code}"))?;
    let link = link.ok_or_else(|| unknown(&code))?;
    links.increment(&format!("hits:{code}"), 1)?;
    Ok((StatusCode::FOUND, [(header::LOCATION, link.url)], ()))
}

fn hits(Path(code): Path<String>) -> Result<Json<Hits>> {
    let links = kv::open("links")?;
    if links.bytes(&format!("link:{code}"))?.is_none() {
        return Err(unknown(&code));
    }
    let hits = links.get(&format!("hits:{code}"))?.unwrap_or(0);
    Ok(Json(Hits { code, hits }))
}

fn unknown(code: &str) -> Error {
    Error::not_found(format!("there is no link {code}"))
}

/// A number in the digits 0 to 9 and a to z.
fn code(mut number: i64) -> String {
    let mut digits = Vec::new();
    while number > 0 {
        digits.extend(char::from_digit(u32::try_from(number % 36).unwrap_or(0), 36));
        number /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::{code, shortener};
    use lacewing_sdk::test::{self, TestResponse};
    use serde_json::{Value, json};

    fn get(path: &str) -> TestResponse {
        test::get(path).call(shortener)
    }

    #[test]
    fn a_link_leads_to_its_url_and_counts() {
        let new = json!({ "url": "https://example.com/a" });
        let link = test::post("/").json(&new).call(shortener);
        assert_eq!(link.status(), 201);
        assert_eq!(link.json::<Value>(), json!({ "code": "1", "url": "https://example.com/a" }));
        for _ in 0..2 {
            let reply = get("/1");
            assert_eq!(reply.status(), 302);
            assert_eq!(reply.header("location"), Some("https://example.com/a"));
        }
        assert_eq!(get("/1/hits").json::<Value>(), json!({ "code": "1", "hits": 2 }));
    }

    #[test]
    fn an_expired_link_is_gone() {
        let new = json!({ "url": "https://example.com/a", "expires_in_s": 0 });
        assert_eq!(test::post("/").json(&new).call(shortener).status(), 201);
        assert_eq!(
            (get("/1").status(), get("/1/hits").status()),
            (404.try_into().unwrap(), 404.try_into().unwrap())
        );
    }

    #[test]
    fn a_url_of_another_scheme_is_refused() {
        let problem = test::post("/").json(&json!({ "url": "ftp://x" })).call(shortener);
        assert_eq!(problem.status(), 400);
    }

    #[test]
    fn codes_are_short() {
        assert_eq!([1, 35, 36, 46_655].map(code), ["1", "z", "10", "zzz"]);
    }
}

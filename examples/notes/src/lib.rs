//! A page for notes: its files and the notes are objects in two buckets.

use lacewing_sdk::http::{HeaderMap, StatusCode, header};
use lacewing_sdk::objects::{self, Bucket};
use lacewing_sdk::{Bytes, Error, IntoResponse, Json, Path, Response, Result, Routes};
use serde::Serialize;

#[lacewing_sdk::http]
fn notes(routes: Routes) -> Routes {
    routes
        .get("/", page)
        .get("/files/{name}", file)
        .put("/files/{name}", upload)
        .get("/notes", list)
        .post("/notes", add)
        .get("/notes/{id}", read)
        .delete("/notes/{id}", remove)
}

#[derive(Serialize)]
struct Note {
    id: String,
    text: String,
}

/// The most notes of the page.
const SHOWN: u32 = 100;

fn site() -> Result<Bucket> {
    objects::open("site")
}

fn notes_bucket() -> Result<Bucket> {
    objects::open("notes")
}

fn page(headers: HeaderMap) -> Result<Response> {
    file(Path("index.html".to_owned()), headers)
}

/// A file of the page. A browser that has the same one already is told so.
fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response> {
    let missing = || Error::not_found(format!("upload {name} with PUT /files/{name} first"));
    let found = site()?.get(&name)?.ok_or_else(missing)?;
    let tag = format!("\"{}\"", found.object.etag);
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    if known {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)], ()).into_response());
    }
    let media_type = found.object.content_type.clone().unwrap_or_default();
    let headers = [(header::CONTENT_TYPE, media_type), (header::ETAG, tag)];
    Ok((StatusCode::OK, headers, found.bytes()?).into_response())
}

fn upload(Path(name): Path<String>, body: Bytes) -> Result<StatusCode> {
    let media_type = match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        _ => "application/octet-stream",
    };
    site()?.write(&name).content_type(media_type).bytes(body)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The newest notes first.
fn list() -> Result<Json<Vec<Note>>> {
    let bucket = notes_bucket()?;
    let mut notes = Vec::new();
    for object in bucket.listing("").limit(SHOWN).page()?.objects {
        if let Some(found) = bucket.get(&object.key)? {
            let text = String::from_utf8_lossy(&found.bytes()?).into_owned();
            notes.push(Note { id: object.key, text });
        }
    }
    Ok(Json(notes))
}

/// The id before the first note. Keys are listed in their order, so a later note has a lower one.
const FIRST: u32 = 1_000_000;

fn add(text: String) -> Result<(StatusCode, Json<Note>)> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::bad_request("a note has a text"));
    }
    let bucket = notes_bucket()?;
    // No other note takes the same id: the invocation is a transaction.
    let newest = bucket.listing("").limit(1).page()?.objects.into_iter().next();
    let newest = newest.map_or(Ok(FIRST), |object| object.key.parse::<u32>())?;
    let id = format!("{:06}", newest.saturating_sub(1));
    bucket.write(&id).content_type("text/plain; charset=utf-8").bytes(text)?;
    Ok((StatusCode::CREATED, Json(Note { id, text: text.to_owned() })))
}

fn read(Path(id): Path<String>) -> Result<Bytes> {
    notes_bucket()?.get(&id)?.ok_or_else(|| unknown(&id))?.bytes()
}

fn remove(Path(id): Path<String>) -> Result<StatusCode> {
    match notes_bucket()?.delete(&id)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&id)),
    }
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("there is no note {id}"))
}

#[cfg(test)]
mod tests {
    use super::notes;
    use lacewing_sdk::test::{self, TestResponse};
    use serde_json::Value;

    fn get(path: &str) -> TestResponse {
        test::get(path).call(notes)
    }

    #[test]
    fn a_file_is_served_with_its_type_until_the_browser_has_it() {
        assert_eq!(get("/").status(), 404);
        let page = test::put("/files/index.html").body("<h1>Notes</h1>").call(notes);
        assert_eq!(page.status(), 204);
        let reply = get("/");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(reply.text(), "<h1>Notes</h1>");
        let tag = reply.header("etag").unwrap().to_owned();
        let again = test::get("/").header("if-none-match", &tag).call(notes);
        assert_eq!(again.status(), 304);
    }

    #[test]
    fn notes_are_added_listed_and_removed() {
        let add = |text: &str| test::post("/notes").body(text.to_owned()).call(notes);
        assert_eq!(add("  ").status(), 400);
        let first = add("water the plants");
        assert_eq!(first.status(), 201);
        let id = first.json::<Value>()["id"].as_str().unwrap().to_owned();
        let listed = get("/notes").json::<Value>();
        assert_eq!(listed[0]["text"], "water the plants");
        assert_eq!(get(&format!("/notes/{id}")).text(), "water the plants");
        let remove = || test::delete(&format!("/notes/{id}")).call(notes).status();
        assert_eq!([remove().as_u16(), remove().as_u16()], [204, 404]);
        assert_eq!(get("/notes").text(), "[]");
    }
}

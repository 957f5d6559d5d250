//! A handler of the SDK's that uses objects in every way that a test asks for.

#![cfg(target_os = "wasi")]

use lacewing_sdk::http::StatusCode;
use lacewing_sdk::{Bytes, Error, Json, Path, Result, Routes, kv, objects};

#[lacewing_sdk::http]
fn all(routes: Routes) -> Routes {
    routes
        .put("/o/{key}", put)
        .get("/o/{key}", get)
        .delete("/o/{key}", delete)
        .get("/head/{key}", head)
        .get("/part/{key}/{first}/{end}", part)
        .get("/list", list)
        .get("/copy/{from}/{to}", copy)
        .get("/new/{key}", new)
        .get("/write/{key}/{mib}/{how}", write)
        .get("/begin/{count}", begin)
        .get("/sum/{key}", sum)
        .get("/both/{how}", both)
        .get("/count/{key}", count)
}

const BUCKET: &str = "files";

fn none() -> Error {
    Error::not_found("there is no such object")
}

fn put(Path(key): Path<String>, body: Bytes) -> Result<()> {
    objects::open(BUCKET)?.put(&key, body)
}

fn get(Path(key): Path<String>) -> Result<Bytes> {
    objects::open(BUCKET)?.get(&key)?.ok_or_else(none)?.bytes()
}

fn delete(Path(key): Path<String>) -> Result<String> {
    Ok(objects::open(BUCKET)?.delete(&key)?.to_string())
}

fn head(Path(key): Path<String>) -> Result<String> {
    let object = objects::open(BUCKET)?.head(&key)?.ok_or_else(none)?;
    let objects::Object { size, etag, content_type, metadata, .. } = object;
    Ok(format!("{size} {etag} {content_type:?} {metadata:?}"))
}

fn part(Path((key, first, end)): Path<(String, u64, u64)>) -> Result<Bytes> {
    objects::open(BUCKET)?.range(&key, first..end)?.ok_or_else(none)?.bytes()
}

fn list() -> Result<Json<(Vec<String>, Vec<String>)>> {
    let page = objects::open(BUCKET)?.listing("").in_folders().page()?;
    let keys = page.objects.into_iter().map(|object| object.key).collect();
    Ok(Json((keys, page.folders)))
}

fn copy(Path((from, to)): Path<(String, String)>) -> Result<String> {
    let files = objects::open(BUCKET)?;
    Ok(files.copy(&from, &files, &to)?.to_string())
}

fn new(Path(key): Path<String>) -> Result<String> {
    let files = objects::open(BUCKET)?;
    let write = files.write(&key).content_type("text/plain").metadata("by", "test").absent();
    Ok(write.bytes("new")?.to_string())
}

/// Writes an object of so many MiB piece by piece, and ends as it is told.
fn write(Path((key, mib, how)): Path<(String, u32, String)>) -> Result<String> {
    let files = objects::open(BUCKET)?;
    let mut writer = files.write(&key).begin()?;
    let piece: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
    for _ in 0..mib * 16 {
        writer.write(&piece)?;
    }
    match how.as_str() {
        "finish" => Ok(writer.finish()?.to_string()),
        "drop" => Ok("dropped".to_owned()),
        "trap" => {
            writer.finish()?;
            panic!("as it was told")
        }
        _ => {
            writer.finish()?;
            Err(Error::bad_request("as it was told"))
        }
    }
}

/// Begins so many bodies, and keeps them.
fn begin(Path(count): Path<usize>) -> Result<String> {
    let files = objects::open(BUCKET)?;
    let piece = vec![7; 1 << 17];
    let mut writers = Vec::new();
    for _ in 0..count {
        let mut writer = files.write("begun").begin()?;
        writer.write(&piece)?;
        writers.push(writer);
    }
    Ok(writers.len().to_string())
}

/// Reads an object piece by piece. Gives its size and the sum of its bytes.
fn sum(Path(key): Path<String>) -> Result<String> {
    let mut opened = objects::open(BUCKET)?.get(&key)?.ok_or_else(none)?;
    let (mut bytes, mut sum) = (0, 0_u64);
    while let Some(chunk) = opened.chunk()? {
        bytes += chunk.len();
        sum += chunk.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    }
    Ok(format!("{bytes} {sum}"))
}

/// Writes an entry and an object, and fails if it is told.
fn both(Path(how): Path<String>) -> Result<StatusCode> {
    kv::open("notes")?.set("both", &how)?;
    objects::open(BUCKET)?.put("both", &how)?;
    match how.as_str() {
        "fail" => Ok(StatusCode::INTERNAL_SERVER_ERROR),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

/// Counts in an object, with a read and a write.
fn count(Path(key): Path<String>) -> Result<String> {
    let files = objects::open(BUCKET)?;
    let count = match files.get(&key)? {
        Some(opened) => String::from_utf8_lossy(&opened.bytes()?).parse::<u64>()?,
        None => 0,
    };
    files.put(&key, (count + 1).to_string())?;
    Ok((count + 1).to_string())
}

//! A handler that uses wasi:blobstore.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Error, Path, Result};

use blobs::wasi::blobstore::{blobstore, container::Container, types};

mod blobs {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/blobstore.wit",
        world: "imports",
        generate_all,
    });
}

#[lacewing_sdk::http]
fn blobstore(Path((step, container)): Path<(String, String)>) -> Result<String> {
    let said = match step.as_str() {
        "write" => write(&container),
        "read" => read(&container),
        "clear" => clear(&container),
        "make" => blobstore::create_container(&container).and_then(|made| made.name()),
        "drop" => blobstore::delete_container(&container).map(|()| String::new()),
        _ => Err("no such step".to_owned()),
    };
    said.map_err(Error::bad_request)
}

fn put(container: &Container, name: &str, body: &[u8], late: bool) -> Result<(), String> {
    let value = types::OutgoingValue::new_outgoing_value();
    let stream = value.outgoing_value_write_body().map_err(|()| "no stream")?;
    if !late {
        container.write_data(name, &value)?;
    }
    for chunk in body.chunks(4096) {
        stream.blocking_write_and_flush(chunk).map_err(|error| format!("{error:?}"))?;
    }
    drop(stream);
    if late {
        container.write_data(name, &value)?;
    }
    types::OutgoingValue::finish(value)
}

fn body(bytes: usize) -> Vec<u8> {
    (0..=255).cycle().take(bytes).collect()
}

fn write(name: &str) -> Result<String, String> {
    let container = blobstore::get_container(name)?;
    put(&container, "small", b"small", false)?;
    put(&container, "large", &body(1_000_000), true)?;
    put(&container, "old", b"old", false)?;
    // A value without an end is no object.
    let value = types::OutgoingValue::new_outgoing_value();
    container.write_data("none", &value)?;
    drop(value);
    let id =
        |object: &str| types::ObjectId { container: name.to_owned(), object: object.to_owned() };
    blobstore::copy_object(&id("small"), &id("copy"))?;
    blobstore::move_object(&id("old"), &id("moved"))?;
    let missing = blobstore::copy_object(&id("none"), &id("x"));
    container.delete_object("never there")?;
    let has = [container.has_object("old")?, container.has_object("moved")?];
    Ok(format!("{has:?} {missing:?} {:?}", container.object_info("large")?.size))
}

fn read(name: &str) -> Result<String, String> {
    let container = blobstore::get_container(name)?;
    let small = container.get_data("small", 1, 3)?;
    let size = small.size();
    let small = types::IncomingValue::incoming_value_consume_sync(small)?;
    let large = container.get_data("large", 0, u64::MAX)?;
    let stream = types::IncomingValue::incoming_value_consume_async(large)?;
    let mut all = Vec::new();
    while let Ok(bytes) = stream.blocking_read(100_000) {
        all.extend(bytes);
    }
    let names = container.list_objects()?;
    let (first, _) = names.read_stream_object_names(2)?;
    let (skipped, _) = names.skip_stream_object_names(1)?;
    let (rest, is_end) = names.read_stream_object_names(100)?;
    let is_whole = all == body(1_000_000);
    Ok(format!(
        "{size} {} {is_whole} {first:?} {skipped} {rest:?} {is_end} {}",
        String::from_utf8_lossy(&small),
        blobstore::container_exists("other")?,
    ))
}

fn clear(name: &str) -> Result<String, String> {
    let container = blobstore::get_container(name)?;
    container.clear()?;
    let (names, _) = container.list_objects()?.read_stream_object_names(100)?;
    Ok(format!("{names:?} {:?}", container.get_data("small", 0, 9).err()))
}

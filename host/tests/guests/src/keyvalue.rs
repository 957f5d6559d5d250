//! A handler that uses the interfaces of others for key-value stores and configuration: the drafts
//! of WASI, and those of Spin.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{Error, Path, Result};

mod draft {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/keyvalue-draft.wit",
        world: "imports",
    });
}

mod draft2 {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/keyvalue-draft2.wit",
        world: "imports",
    });
}

mod spin {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/spin.wit",
        world: "imports",
    });
}

mod config_draft {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/config-draft.wit",
        world: "imports",
    });
}

mod config_rc1 {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/config-rc1.wit",
        world: "imports",
    });
}

#[lacewing_sdk::http]
fn keyvalue(Path((dialect, store)): Path<(String, String)>) -> Result<String> {
    let said = match dialect.as_str() {
        "draft" => with_draft(&store).map_err(|error| format!("{error:?}")),
        "draft2" => with_draft2(&store).map_err(|error| format!("{error:?}")),
        "spin" => with_spin(&store).map_err(|error| format!("{error:?}")),
        "config" => Ok(configured(&store)),
        _ => Err("no such dialect".to_owned()),
    };
    said.map_err(Error::bad_request)
}

fn with_draft(store: &str) -> Result<String, draft::wasi::keyvalue::store::Error> {
    use draft::wasi::keyvalue::{atomics, batch, store};

    let bucket = store::open(store)?;
    bucket.set("a", b"1")?;
    batch::set_many(&bucket, &[("b".to_owned(), b"2".to_vec()), ("c".to_owned(), b"3".to_vec())])?;
    let sum = atomics::increment(&bucket, "b", 5)?;
    bucket.delete("c")?;
    let many = batch::get_many(&bucket, &["a".to_owned(), "b".to_owned(), "c".to_owned()])?;
    let exists = [bucket.exists("a")?, bucket.exists("c")?];
    let listed = bucket.list_keys(None)?;
    batch::delete_many(&bucket, &["a".to_owned()])?;
    Ok(format!("{sum} {many:?} {exists:?} {listed:?} {:?}", bucket.get("a")?))
}

fn with_draft2(store: &str) -> Result<String, draft2::wasi::keyvalue::store::Error> {
    use draft2::wasi::keyvalue::{atomics, batch, store};

    let bucket = store::open(store)?;
    bucket.set("a", b"1")?;
    let sum = atomics::increment(&bucket, "a", -3)?;
    let (old, new) = (atomics::Cas::new(&bucket, "a")?, atomics::Cas::new(&bucket, "a")?);
    let swapped = atomics::swap(new, b"7").is_ok();
    let current = match atomics::swap(old, b"8") {
        Err(atomics::CasError::CasFailed(cas)) => cas.current()?,
        Err(atomics::CasError::StoreError(error)) => return Err(error),
        Ok(()) => None,
    };
    let many = batch::get_many(&bucket, &["a".to_owned(), "none".to_owned()])?;
    let listed = bucket.list_keys(None)?;
    Ok(format!("{sum} {swapped} {current:?} {many:?} {listed:?}"))
}

fn with_spin(store: &str) -> Result<String, spin::fermyon::spin::key_value::Error> {
    use spin::fermyon::spin::key_value::Store;

    let store = Store::open(store)?;
    store.set("a", b"1")?;
    store.set("b", b"2")?;
    store.delete("b")?;
    let exists = [store.exists("a")?, store.exists("b")?];
    Ok(format!("{:?} {:?} {exists:?} {:?}", store.get("a")?, store.get("b")?, store.get_keys()?))
}

/// What each interface says of a variable.
fn configured(name: &str) -> String {
    let draft = config_draft::wasi::config::store::get(name);
    let rc1 = config_rc1::wasi::config::store::get(name);
    let all = config_rc1::wasi::config::store::get_all();
    let spin = spin::fermyon::spin::variables::get(name);
    format!("{draft:?} {rc1:?} {all:?} {spin:?}")
}

//! A component for wasi:http 0.3 that uses the async interfaces of Spin 4: no SDK, no manifest.
//!
//! | path | what it does |
//! |---|---|
//! | `/store/NAME` | makes each call on a store |
//! | `/together/N` | sets N keys at once, and counts them |
//! | `/some/N` | reads N keys of the stream, and drops it |
//! | `/variable/NAME` | reads a variable |

#![cfg(target_os = "wasi")]

use wasip3::{
    exports::http::handler::Guest,
    http::types::{ErrorCode, Fields, Request, Response},
    wit_future, wit_stream,
};

mod kv {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/spin-key-value-3.wit",
        world: "imports",
    });
}

mod variables {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/spin-variables-3.wit",
        world: "imports",
    });
}

use kv::spin::key_value::key_value::{Error, Store};

struct Spin;

wasip3::http::service::export!(Spin);

impl Guest for Spin {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let path = request.get_path_with_query().unwrap_or_default();
        let mut words = path.split('/').skip(1);
        let (what, which) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let said = match what {
            "store" => format!("{:?}", use_store(which.to_owned()).await),
            "together" => format!("{:?}", together(which.parse().unwrap_or(0)).await),
            "some" => format!("{:?}", some(which.parse().unwrap_or(0)).await),
            _ => {
                format!("{:?}", variables::spin::variables::variables::get(which.to_owned()).await)
            }
        };
        Ok(text(said))
    }
}

async fn use_store(name: String) -> Result<String, Error> {
    let store = Store::open(name).await?;
    store.set("a".to_owned(), b"1".to_vec()).await?;
    store.set("b".to_owned(), b"2".to_vec()).await?;
    store.delete("b".to_owned()).await?;
    let exists = [store.exists("a".to_owned()).await?, store.exists("b".to_owned()).await?];
    let (a, b) = (store.get("a".to_owned()).await?, store.get("b".to_owned()).await?);
    let too_long = store.set("k".repeat(600), Vec::new()).await;
    let (keys, end) = store.get_keys().await;
    let keys = keys.collect().await;
    end.await?;
    Ok(format!("{a:?} {b:?} {exists:?} {keys:?} {too_long:?}"))
}

async fn together(count: usize) -> Result<(usize, bool), Error> {
    let store = Store::open("default".to_owned()).await?;
    let set = |number: usize| store.set(format!("key-{number:05}"), b"1".to_vec());
    let mut calls: Vec<_> = (0..count).map(|number| Box::pin(set(number))).collect();
    // The first poll of each sends the call off.
    std::future::poll_fn(|cx| {
        calls.retain_mut(|call| call.as_mut().poll(cx).is_pending());
        match calls.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    let (keys, end) = store.get_keys().await;
    let keys = keys.collect().await;
    end.await?;
    Ok((keys.len(), keys.is_sorted()))
}

async fn some(count: usize) -> Result<Vec<String>, Error> {
    let store = Store::open("default".to_owned()).await?;
    let (mut keys, end) = store.get_keys().await;
    let mut some = Vec::new();
    while some.len() < count {
        let Some(key) = keys.next().await else { break };
        some.push(key);
    }
    drop(keys);
    end.await?;
    Ok(some)
}

fn text(text: String) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), no_trailers);
    wasip3::wit_bindgen::spawn_local(async move {
        writer.write_all(text.into_bytes()).await;
        drop(writer);
        drop(trailers);
    });
    response
}

//! Notes in Spin's key-value store: a component of Spin, with Spin's own SDK.

use spin_sdk::{
    http::{IntoResponse, Method, Request, StatusCode, body::IncomingBodyExt},
    http_service,
    key_value::Store,
    variables,
};

#[http_service]
async fn notes(request: Request) -> anyhow::Result<impl IntoResponse> {
    let store = Store::open_default().await?;
    let name = request.uri().path().trim_start_matches("/notes").trim_matches('/').to_owned();
    let (method, body) = (request.method().clone(), request.into_body());
    match (method, name.as_str()) {
        (Method::GET, "") => {
            let title = variables::get("title").await?;
            let names = store.get_keys().await.collect().await?;
            Ok((StatusCode::OK, format!("{title}: {}\n", names.join(", "))))
        }
        (Method::GET, name) => match store.get(name).await? {
            Some(note) => Ok((StatusCode::OK, String::from_utf8(note)?)),
            None => Ok((StatusCode::NOT_FOUND, format!("no note {name}\n"))),
        },
        (Method::PUT | Method::POST, name) if !name.is_empty() => {
            let note = body.bytes().await?;
            let status = match store.exists(name).await? {
                true => StatusCode::OK,
                false => StatusCode::CREATED,
            };
            store.set(name, &note).await?;
            Ok((status, String::new()))
        }
        (Method::DELETE, name) if !name.is_empty() => {
            store.delete(name).await?;
            Ok((StatusCode::NO_CONTENT, String::new()))
        }
        _ => Ok((StatusCode::METHOD_NOT_ALLOWED, String::new())),
    }
}

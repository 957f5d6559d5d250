//! Asks another server, which the manifest grants, and tells what it said.

use lacewing_sdk::{Error, Result, client};

#[lacewing_sdk::http]
fn fetch() -> Result<String> {
    let upstream = std::env::var("UPSTREAM")
        .map_err(|_| Error::msg("`UPSTREAM` is not set: give it in `[functions.fetch.env]`"))?;
    ask(&upstream)
}

fn ask(url: &str) -> Result<String> {
    let response = client::fetch(url)?;
    let status = response.status();
    let body = response.into_body().into_bytes()?;
    Ok(format!("{url} answered {status}:\n{}", String::from_utf8_lossy(&body)))
}

#[cfg(test)]
mod tests {
    use lacewing_sdk::{http, test};

    #[test]
    fn it_returns_the_answer_of_the_other_server() {
        let _upstream = test::upstream(|request| {
            assert_eq!(request.uri(), "https://example.com/page");
            http::Response::new("a page".into())
        });
        let told = super::ask("https://example.com/page").unwrap();
        assert_eq!(told, "https://example.com/page answered 200 OK:\na page");
    }

    #[test]
    fn no_answer_is_a_bad_gateway() {
        assert_eq!(super::ask("https://example.com/").unwrap_err().status(), 502);
    }
}

//! The smallest function: one route, one line of text.

#[lacewing_sdk::http]
fn hello() -> &'static str {
    "Hello, world!\n"
}

#[cfg(test)]
mod tests {
    use lacewing_sdk::test;

    #[test]
    fn it_greets() {
        let response = test::get("/").call(super::hello);
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(response.text(), "Hello, world!\n");
    }
}

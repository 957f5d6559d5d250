//! Greets whom the path names.

use lacewing_sdk::Route;

#[lacewing_sdk::http]
fn greet(route: Route) -> String {
    let name = route.param("name").unwrap_or("world");
    format!("Hello, {name}!\n")
}

#[cfg(test)]
mod tests {
    use super::greet;
    use lacewing_sdk::test;

    #[test]
    fn it_greets_the_world() {
        let response = test::get("/").route("/").call(greet);
        assert_eq!(response.status(), 200);
        assert_eq!(response.text(), "Hello, world!\n");
    }

    #[test]
    fn it_greets_whom_the_path_names() {
        let response = test::get("/Ada")
            .route("/{name}")
            .param("name", "Ada")
            .call(greet);
        assert_eq!(response.text(), "Hello, Ada!\n");
    }
}

//! The arguments that a request becomes, and the answers to requests that do not fit.

use std::collections::BTreeMap;

use lacewing_sdk::extract::{FromRequest, Incoming, Route};
use lacewing_sdk::http::{HeaderMap, Method, StatusCode, Uri};
use lacewing_sdk::test::{self, TestResponse};
use lacewing_sdk::{Body, Bytes, Context, Error, Json, Path, Query, Request, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The status and the problem document of a refusal.
fn problem(response: &TestResponse) -> (StatusCode, Value) {
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    let document = response.json::<Value>();
    assert_eq!(document["status"], response.status().as_u16());
    (response.status(), document)
}

mod path {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Deserialize)]
    struct Named {
        user: u32,
        file: String,
    }

    #[derive(Deserialize)]
    struct Id(u64);

    fn two(path: &str) -> test::TestRequest {
        test::get(path).route("/{user}/{file}").param("user", "7").param("file", "a b")
    }

    #[test]
    fn a_single_value_of_any_kind() {
        let one = |value: &str| test::get("/").param("x", value);
        let text = one("7").call(|Path(x): Path<String>| x);
        assert_eq!(text.text(), "7");
        assert_eq!(one("7").call(|Path(Id(x)): Path<Id>| x.to_string()).text(), "7");
        assert_eq!(one("-7").call(|Path(x): Path<i8>| x.to_string()).text(), "-7");
        assert_eq!(one("1.5").call(|Path(x): Path<f32>| x.to_string()).text(), "1.5");
        assert_eq!(one("true").call(|Path(x): Path<bool>| x.to_string()).text(), "true");
        assert_eq!(one("ß").call(|Path(x): Path<char>| x.to_string()).text(), "ß");
        assert_eq!(one("red").call(|Path(x): Path<Colour>| format!("{x:?}")).text(), "Red");
    }

    #[test]
    fn a_tuple_in_order_and_a_struct_or_map_by_name() {
        let tuple = |Path((user, file)): Path<(u8, String)>| format!("{user} {file}");
        assert_eq!(two("/").call(tuple).text(), "7 a b");
        let named = |Path(Named { file, user }): Path<Named>| format!("{user} {file}");
        assert_eq!(two("/").call(named).text(), "7 a b");
        let all = |Path(all): Path<BTreeMap<String, String>>| format!("{all:?}");
        assert_eq!(two("/").call(all).text(), r#"{"file": "a b", "user": "7"}"#);
        let list = |Path(all): Path<Vec<String>>| all.join("/");
        assert_eq!(two("/").call(list).text(), "7/a b");
    }

    #[test]
    fn a_value_that_does_not_fit_is_a_400_that_names_its_parameter() {
        let response = test::get("/").param("x", "300").call(|Path(x): Path<u8>| x.to_string());
        let (status, document) = problem(&response);
        assert_eq!(status, 400);
        assert_eq!(
            document["detail"],
            "path parameter `x`: expected a whole number from 0 to 255, got `300`"
        );
        assert_eq!((&document["in"], &document["name"]), (&json!("path"), &json!("x")));

        let tuple = |Path((a, b)): Path<(u8, u8)>| format!("{a} {b}");
        assert_eq!(
            problem(&two("/").call(tuple)).1["detail"],
            "path parameter `file`: expected a whole number from 0 to 255, got `a b`"
        );
        let response = test::get("/").param("x", "blue").call(|Path(_): Path<Colour>| ());
        assert_eq!(
            problem(&response).1["detail"],
            "path parameter `x`: expected one of `red`, `green`, got `blue`"
        );
    }

    #[test]
    fn a_handler_that_does_not_fit_its_route_is_the_functions_fault() {
        let response = two("/").call(|Path(x): Path<u8>| x.to_string());
        assert_eq!(problem(&response).0, 500);
        let response = two("/").call(|Path(x): Path<(u8, u8, u8)>| format!("{x:?}"));
        assert_eq!(problem(&response).0, 500);
    }
}

mod query {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)] // Seen through `Debug`.
    #[serde(deny_unknown_fields)]
    struct Search {
        q: String,
        page: Option<u32>,
        #[serde(default)]
        tag: Vec<String>,
        #[serde(default)]
        exact: bool,
    }

    fn search(Query(search): Query<Search>) -> String {
        format!("{search:?}")
    }

    fn refused(query: &str) -> String {
        let (status, document) = problem(&test::get(query).call(search));
        assert_eq!((status.as_u16(), &document["in"]), (400, &json!("query")));
        document["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn keys_are_fields_and_repeated_keys_are_vectors() {
        let response = test::get("/?q=a+b%26c&page=2&tag=x&exact=true&tag=y").call(search);
        assert_eq!(
            response.text(),
            r#"Search { q: "a b&c", page: Some(2), tag: ["x", "y"], exact: true }"#
        );
        let response = test::get("/?q=").call(search);
        assert_eq!(response.text(), r#"Search { q: "", page: None, tag: [], exact: false }"#);
    }

    #[test]
    fn a_key_that_does_not_fit_is_a_400_that_names_it() {
        assert_eq!(refused("/"), "query key `q`: is missing");
        assert_eq!(refused("/?q=a&q=b"), "query key `q`: is given more than once");
        assert_eq!(
            refused("/?q=a&exact=yes"),
            "query key `exact`: expected `true` or `false`, got `yes`"
        );
        assert_eq!(
            refused("/?q=a&page=-1"),
            "query key `page`: expected a whole number from 0 to 4294967295, got `-1`"
        );
        assert_eq!(
            refused("/?q=a&sort=up"),
            "query key `sort`: is not known; known are `q`, `page`, `tag`, `exact`"
        );
    }

    #[test]
    fn any_query_is_a_map() {
        let all = |Query(all): Query<BTreeMap<String, String>>| format!("{all:?}");
        assert_eq!(test::get("/?b=2&a=1").call(all).text(), r#"{"a": "1", "b": "2"}"#);
        assert_eq!(test::get("/").call(all).text(), "{}");
    }
}

mod body {
    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Order {
        lines: Vec<Line>,
    }

    #[derive(Deserialize, Serialize)]
    struct Line {
        amount: u32,
    }

    fn order(Json(order): Json<Order>) -> Json<Order> {
        Json(order)
    }

    fn send(content_type: &str, body: &'static str) -> TestResponse {
        test::post("/").header("content-type", content_type).body(body).call(order)
    }

    #[test]
    fn json_of_any_json_type() {
        for content_type in
            ["application/json", "Application/JSON; charset=utf-8", "application/vnd.order+json"]
        {
            let response = send(content_type, r#"{"lines":[{"amount":1}]}"#);
            assert_eq!(response.text(), r#"{"lines":[{"amount":1}]}"#);
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
    }

    #[test]
    fn another_content_type_is_a_415() {
        for content_type in ["text/plain", "application/jsonp", "+json", ""] {
            let (status, document) = problem(&send(content_type, "{}"));
            assert_eq!(status, 415, "{content_type}");
            assert_eq!(document["name"], "content-type");
        }
    }

    #[test]
    fn malformed_json_is_a_400_with_line_and_column() {
        let (status, document) = problem(&send("application/json", "{\n\"lines\": [}"));
        assert_eq!(status, 400);
        assert_eq!((&document["line"], &document["column"]), (&json!(2), &json!(11)));
        assert_eq!(
            document["detail"],
            "the body is not valid JSON, line 2 column 11: expected value"
        );
        let (status, document) = problem(&send("application/json", ""));
        assert_eq!(status, 400);
        assert!(document["detail"].as_str().unwrap().ends_with("EOF while parsing a value"));
    }

    #[test]
    fn json_of_another_shape_is_a_422_with_the_path() {
        let body = r#"{"lines":[{"amount":1},{"amount":"two"}]}"#;
        let (status, document) = problem(&send("application/json", body));
        assert_eq!(status, 422);
        assert_eq!(
            (&document["path"], &document["in"]),
            (&json!("lines[1].amount"), &json!("body"))
        );
        assert_eq!(
            document["detail"],
            "the body does not have the expected shape at `lines[1].amount`, line 1 column 38: \
             invalid type: string \"two\", expected u32"
        );
    }

    #[test]
    fn bytes_and_text_as_they_are() {
        let bytes = |body: Bytes| format!("{body:?}");
        assert_eq!(test::post("/").body("x").call(bytes).text(), "b\"x\"");
        let vector = |body: Vec<u8>| body;
        assert_eq!(test::post("/").body(vec![0, 255]).call(vector).bytes()[..], [0, 255]);
        let text = |body: String| body;
        assert_eq!(test::post("/").body("ß").call(text).text(), "ß");
        let (status, document) = problem(&test::post("/").body(vec![b'a', 255]).call(text));
        assert_eq!(status, 400);
        assert_eq!(document["detail"], "the body is not UTF-8: see byte 1");
    }
}

#[test]
fn the_parts_of_a_request() {
    let parts = |method: Method, uri: Uri, headers: HeaderMap, route: Route| {
        format!("{method} {uri} {:?} {}", headers["x-a"], route.pattern)
    };
    let request = test::put("/a?b=c").header("x-a", "1").route("/{all}");
    assert_eq!(request.call(parts).text(), r#"PUT http://localhost/a?b=c "1" /{all}"#);
}

#[test]
fn a_whole_request_with_its_route_and_body() {
    let whole = |request: Request| {
        let route = request.extensions().get::<Route>().cloned().unwrap_or_default();
        let (head, method) = (request.headers().len(), request.method().clone());
        let body = request.into_body().into_bytes()?;
        Ok::<_, Error>(format!("{method} {:?} {head} {body:?}", route.params))
    };
    let response = test::post("/").param("a", "b").header("x-a", "1").body("hi").call(whole);
    assert_eq!(response.text(), r#"POST [("a", "b")] 1 b"hi""#);
}

#[test]
fn a_body_after_other_arguments() {
    let handler = |Path(id): Path<u8>, _: Context, body: Body| format!("{id} {body:?}");
    let response = test::post("/").param("id", "7").body("four").call(handler);
    assert_eq!(response.text(), "7 Body(4 bytes)");
}

#[test]
fn a_handler_may_look_at_the_refusal_itself() {
    let handler = |path: Result<Path<u8>>| match path {
        Ok(Path(id)) => id.to_string(),
        Err(error) => format!("refused with {}", error.status()),
    };
    assert_eq!(
        test::get("/").param("id", "x").call(handler).text(),
        "refused with 400 Bad Request"
    );
}

#[test]
fn an_extractor_of_ones_own() {
    struct Agent(String);

    impl FromRequest for Agent {
        fn from_request(request: &mut Incoming) -> Result<Agent> {
            let agent = request.headers()?.get("user-agent").and_then(|agent| agent.to_str().ok());
            agent.map(|agent| Agent(agent.into())).ok_or_else(|| Error::forbidden("who are you?"))
        }
    }

    let handler = |Agent(agent): Agent| agent;
    assert_eq!(test::get("/").header("user-agent", "curl").call(handler).text(), "curl");
    assert_eq!(problem(&test::get("/").call(handler)).0, 403);
}

#[test]
fn eight_arguments() {
    let handler =
        |_: Method, _: Method, _: Method, _: Method, _: Method, _: Method, _: Uri, x: String| x;
    assert_eq!(test::post("/").body("the eighth").call(handler).text(), "the eighth");
}

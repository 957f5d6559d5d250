//! A typed JSON API with path parameters and validation.
//!
//! A sandbox lives for one request, so the users are constants; a real function would keep them in
//! a store.

use lacewing_sdk::http::StatusCode;
use lacewing_sdk::{Error, Json, Path, Query, Result, Routes};
use serde::{Deserialize, Serialize};

#[lacewing_sdk::http]
fn users(routes: Routes) -> Routes {
    routes.get("/users", list).post("/users", add).get("/users/{id}", read)
}

#[derive(Clone, Serialize)]
struct User {
    id: u32,
    name: String,
    email: String,
}

fn known() -> Vec<User> {
    [("Ada Lovelace", "ada@example.com"), ("Alan Turing", "alan@example.com")]
        .into_iter()
        .zip(1..)
        .map(|((name, email), id)| User { id, name: name.into(), email: email.into() })
        .collect()
}

#[derive(Deserialize)]
struct Page {
    #[serde(default = "Page::ten")]
    limit: usize,
}

impl Page {
    fn ten() -> usize {
        10
    }
}

fn list(Query(page): Query<Page>) -> Json<Vec<User>> {
    Json(known().into_iter().take(page.limit).collect())
}

fn read(Path(id): Path<u32>) -> Result<Json<User>> {
    let user = known().into_iter().find(|user| user.id == id);
    user.map(Json).ok_or_else(|| Error::not_found(format!("there is no user {id}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    email: String,
}

fn add(Json(new): Json<NewUser>) -> Result<(StatusCode, Json<User>)> {
    let mut wrong = Vec::new();
    if new.name.trim().is_empty() {
        wrong.push("`name` must not be empty");
    }
    if !new.email.contains('@') {
        wrong.push("`email` must contain an @");
    }
    if !wrong.is_empty() {
        return Err(Error::unprocessable("the user is not valid").with_member("errors", wrong));
    }
    Ok((StatusCode::CREATED, Json(User { id: 3, name: new.name, email: new.email })))
}

#[cfg(test)]
mod tests {
    use super::users;
    use lacewing_sdk::test;
    use serde_json::{Value, json};

    #[test]
    fn it_lists_and_reads() {
        assert_eq!(test::get("/users").call(users).json::<Vec<Value>>().len(), 2);
        assert_eq!(test::get("/users?limit=1").call(users).json::<Vec<Value>>().len(), 1);
        let ada = test::get("/users/1").call(users).json::<Value>();
        assert_eq!(ada, json!({ "id": 1, "name": "Ada Lovelace", "email": "ada@example.com" }));
    }

    #[test]
    fn an_unknown_user_is_a_problem() {
        let problem = test::get("/users/9").call(users);
        assert_eq!(problem.status(), 404);
        assert_eq!(problem.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem.json::<Value>()["detail"], "there is no user 9");
    }

    #[test]
    fn an_id_that_is_no_number_is_named() {
        let problem = test::get("/users/ada").call(users);
        assert_eq!(problem.status(), 400);
        let problem = problem.json::<Value>();
        assert_eq!(
            problem["detail"],
            "path parameter `id`: expected a whole number from 0 to 4294967295, got `ada`"
        );
        assert_eq!((&problem["in"], &problem["name"]), (&json!("path"), &json!("id")));
    }

    #[test]
    fn it_adds_a_valid_user() {
        let new = json!({ "name": "Grace Hopper", "email": "grace@example.com" });
        let response = test::post("/users").json(&new).call(users);
        assert_eq!(response.status(), 201);
        assert_eq!(response.json::<Value>()["id"], 3);
    }

    #[test]
    fn it_says_all_that_is_wrong() {
        let new = json!({ "name": " ", "email": "nowhere" });
        let response = test::post("/users").json(&new).call(users);
        assert_eq!(response.status(), 422);
        let wrong = ["`name` must not be empty", "`email` must contain an @"];
        assert_eq!(response.json::<Value>()["errors"], json!(wrong));
    }

    #[test]
    fn a_body_of_another_shape_is_refused_with_the_place() {
        let response = test::post("/users")
            .header("content-type", "application/json")
            .body("{\n  \"name\": 7\n}")
            .call(users);
        assert_eq!(response.status(), 422);
        let problem = response.json::<Value>();
        assert_eq!((&problem["path"], &problem["line"]), (&json!("name"), &json!(2)));
    }
}

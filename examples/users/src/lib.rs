//! The API of a table of users, in a key-value store.
//!
//! The manifest makes two functions of this package. One may read the store, the other one may
//! write to it as well.

use lacewing_sdk::http::StatusCode;
use lacewing_sdk::{Error, Json, Path, Query, Result, Routes, kv};
use serde::{Deserialize, Serialize};

#[lacewing_sdk::http]
fn users(routes: Routes) -> Routes {
    routes
        .get("/users", list)
        .get("/users/{id}", read)
        .post("/users", add)
        .delete("/users/{id}", remove)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    id: String,
    name: String,
}

impl User {
    /// Every mistake at once.
    fn check(&self) -> Result<()> {
        let mut wrong = Vec::new();
        if !(1..=32).contains(&self.id.len()) || !self.id.bytes().all(|b| b.is_ascii_alphanumeric())
        {
            wrong.push("`id` must have 1 to 32 letters and digits");
        }
        if self.name.trim().is_empty() {
            wrong.push("`name` must not be empty");
        }
        match wrong[..] {
            [] => Ok(()),
            _ => Err(Error::bad_request("the user is not valid").with_member("errors", wrong)),
        }
    }
}

#[derive(Deserialize)]
struct PageQuery {
    after: Option<String>,
}

#[derive(Serialize)]
struct UserPage {
    ids: Vec<String>,
    next: Option<String>,
}

fn list(Query(page): Query<PageQuery>) -> Result<Json<UserPage>> {
    let page = kv::open("users")?.keys_after("", page.after.as_deref(), 100)?;
    Ok(Json(UserPage { ids: page.keys, next: page.next }))
}

fn read(Path(id): Path<String>) -> Result<Json<User>> {
    let user = kv::open("users")?.get(&id)?;
    user.map(Json).ok_or_else(|| Error::not_found(format!("there is no user {id}")))
}

fn add(Json(user): Json<User>) -> Result<(StatusCode, Json<User>)> {
    user.check()?;
    match kv::open("users")?.write(&user.id).absent().json(&user)? {
        true => Ok((StatusCode::CREATED, Json(user))),
        false => Err(Error::conflict(format!("there is a user {} already", user.id))),
    }
}

fn remove(Path(id): Path<String>) -> Result<StatusCode> {
    match kv::open("users")?.delete(&id)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::not_found(format!("there is no user {id}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::users;
    use lacewing_sdk::test::{self, TestResponse};
    use serde_json::{Value, json};

    fn add(user: &Value) -> TestResponse {
        test::post("/users").json(user).call(users)
    }

    fn read(id: &str) -> TestResponse {
        test::get(&format!("/users/{id}")).call(users)
    }

    #[test]
    fn a_user_that_was_added_is_there() {
        let ada = json!({ "id": "ada", "name": "Ada Lovelace" });
        assert_eq!(read("ada").status(), 404);
        assert_eq!(add(&ada).status(), 201);
        assert_eq!(read("ada").json::<Value>(), ada);
        let list = test::get("/users").call(users).json::<Value>();
        assert_eq!(list, json!({ "ids": ["ada"], "next": null }));
    }

    #[test]
    fn an_id_is_taken_once() {
        assert_eq!(add(&json!({ "id": "ada", "name": "Ada Lovelace" })).status(), 201);
        let problem = add(&json!({ "id": "ada", "name": "Ada Byron" }));
        assert_eq!(problem.status(), 409);
        assert_eq!(problem.json::<Value>()["detail"], "there is a user ada already");
        assert_eq!(read("ada").json::<Value>()["name"], "Ada Lovelace");
    }

    #[test]
    fn a_wrong_user_is_refused_with_all_mistakes() {
        let problem = add(&json!({ "id": "a b", "name": " " }));
        assert_eq!(problem.status(), 400);
        let wrong = ["`id` must have 1 to 32 letters and digits", "`name` must not be empty"];
        assert_eq!(problem.json::<Value>()["errors"], json!(wrong));
    }

    #[test]
    fn a_user_can_be_removed_once() {
        add(&json!({ "id": "ada", "name": "Ada Lovelace" }));
        assert_eq!(test::delete("/users/ada").call(users).status(), 204);
        assert_eq!(test::delete("/users/ada").call(users).status(), 404);
    }
}

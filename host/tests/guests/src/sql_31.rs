//! An `async` handler of the SDK's that executes the SQL which a request brings, over spin:sqlite
//! 3.1 and its tasks. Each line of the body is a statement; the answer has a line for each.

#![cfg(target_os = "wasi")]

use lacewing_sdk::{AsyncRoutes, Path, Response};

mod spin_31 {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/spin-sqlite-3.1.wit",
        world: "sqlite-client",
    });
    pub(crate) use spin::sqlite::sqlite;
}

use spin_31::sqlite::{Connection, Error};

#[lacewing_sdk::http]
async fn sql_31(routes: AsyncRoutes) -> Response {
    routes.post("/run/{database}", run).await
}

async fn run(Path(database): Path<String>, body: String) -> String {
    let connection = match Connection::open_async(database).await {
        Ok(connection) => connection,
        Err(error) => return format!("{error:?}"),
    };
    let mut ran = Vec::new();
    for line in body.lines() {
        ran.push(execute(&connection, line).await.unwrap_or_else(|error| format!("{error:?}")));
    }
    ran.join("\n")
}

async fn execute(connection: &Connection, statement: &str) -> Result<String, Error> {
    let (columns, mut rows, end) =
        connection.execute_async(statement.to_owned(), Vec::new()).await?;
    let mut read = Vec::new();
    while let Some(row) = rows.next().await {
        read.push(row.values);
    }
    end.await?;
    let counts = (connection.last_insert_rowid_async().await, connection.changes_async().await);
    Ok(format!("{columns:?} {read:?} {counts:?}"))
}

//! A handler of the SDK's that executes the SQL which a request brings, over the interfaces of
//! Spin 2 and 3.
//!
//! | path | what it does |
//! |---|---|
//! | `POST /run/{dialect}/{database}` | executes each line of the body on one connection, and answers with a line for each |
//! | `POST /values/{dialect}/{database}` | executes the body with one parameter of each type |
//! | `POST /counts/{database}` | executes each line of the body, and answers with the counts of the connection |
//! | `POST /open/{database}/{count}` | opens so many connections at once |
//! | `POST /hold/{database}/{ms}` | executes the body in a transaction, stays for so long, and does not end it |
//! | `GET /attack/{attack}` | executes hostile SQL on the database `default` |
//! | `POST /with-kv/{database}` | adds to a counter in a kv store, executes the body, and waits for a row in the table `go` |
//! | `POST /add` | adds to the same counter |

#![cfg(target_os = "wasi")]

use std::{fmt::Write as _, time::Duration};

use lacewing_sdk::{Error, Path, Result, Routes, kv};

mod spin_2 {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/spin.wit",
        world: "sqlite-client",
    });
    pub(crate) use fermyon::spin::sqlite;
}

mod spin_3 {
    wit_bindgen::generate!({
        path: "../../crates/sandbox/wit/spin-sqlite-3.0.wit",
        world: "sqlite-client",
    });
    pub(crate) use spin::sqlite::sqlite;
}

#[lacewing_sdk::http]
fn sql(routes: Routes) -> Routes {
    routes
        .post("/run/{dialect}/{database}", run)
        .post("/values/{dialect}/{database}", values)
        .post("/counts/{database}", counts)
        .post("/open/{database}/{count}", open)
        .post("/hold/{database}/{ms}", hold)
        .post("/with-kv/{database}", with_kv)
        .post("/add", add)
        .get("/attack/{attack}", attack)
}

/// The same for each dialect, whose types are its own.
macro_rules! dialect {
    ($dialect:ident) => {
        impl $dialect::sqlite::QueryResult {
            fn shown(self) -> String {
                let rows: Vec<_> = self.rows.into_iter().map(|row| row.values).collect();
                format!("{:?} {rows:?}", self.columns)
            }
        }

        impl Dialect for $dialect::sqlite::Connection {
            fn open_it(database: &str) -> Result<Self, String> {
                Self::open(database).map_err(|error| format!("{error:?}"))
            }

            fn run(&self, statement: &str) -> String {
                match self.execute(statement, &[]) {
                    Ok(result) => result.shown(),
                    Err(error) => format!("{error:?}"),
                }
            }

            fn run_with_values(&self, statement: &str) -> String {
                use $dialect::sqlite::Value;
                let values = [
                    Value::Null,
                    Value::Integer(i64::MIN),
                    Value::Real(0.5),
                    Value::Text("a".to_owned()),
                    Value::Blob(vec![0, 255]),
                ];
                match self.execute(statement, &values) {
                    Ok(result) => result.shown(),
                    Err(error) => format!("{error:?}"),
                }
            }
        }
    };
}

dialect!(spin_2);
dialect!(spin_3);

trait Dialect: Sized {
    fn open_it(database: &str) -> Result<Self, String>;
    fn run(&self, statement: &str) -> String;
    fn run_with_values(&self, statement: &str) -> String;
}

fn each_line<C: Dialect>(database: &str, body: &str) -> String {
    let connection = match C::open_it(database) {
        Ok(connection) => connection,
        Err(error) => return error,
    };
    let ran: Vec<String> = body.lines().map(|line| connection.run(line)).collect();
    ran.join("\n")
}

fn run(Path((dialect, database)): Path<(String, String)>, body: String) -> Result<String> {
    match dialect.as_str() {
        "2" => Ok(each_line::<spin_2::sqlite::Connection>(&database, &body)),
        "3" => Ok(each_line::<spin_3::sqlite::Connection>(&database, &body)),
        _ => Err(Error::not_found("no such dialect")),
    }
}

fn values(Path((dialect, database)): Path<(String, String)>, body: String) -> Result<String> {
    fn with<C: Dialect>(database: &str, body: &str) -> Result<String> {
        let connection = C::open_it(database).map_err(Error::bad_request)?;
        Ok(connection.run_with_values(body))
    }
    match dialect.as_str() {
        "2" => with::<spin_2::sqlite::Connection>(&database, &body),
        "3" => with::<spin_3::sqlite::Connection>(&database, &body),
        _ => Err(Error::not_found("no such dialect")),
    }
}

fn counts(Path(database): Path<String>, body: String) -> Result<String> {
    let connection = spin_3::sqlite::Connection::open_it(&database).map_err(Error::bad_request)?;
    let mut shown = String::new();
    for line in body.lines() {
        connection.run(line);
        writeln!(shown, "{} {}", connection.last_insert_rowid(), connection.changes()).unwrap();
    }
    Ok(shown)
}

fn open(Path((database, count)): Path<(String, usize)>) -> String {
    let opened: Vec<_> =
        (0..count).map(|_| spin_3::sqlite::Connection::open_it(&database)).collect();
    let error = opened.iter().find_map(|opened| opened.as_ref().err());
    let open = opened.iter().filter(|opened| opened.is_ok()).count();
    format!("{open} {}", error.cloned().unwrap_or_default())
}

fn hold(Path((database, ms)): Path<(String, u64)>, body: String) -> Result<String> {
    let connection = spin_3::sqlite::Connection::open_it(&database).map_err(Error::bad_request)?;
    let begun = connection.run("BEGIN IMMEDIATE");
    let ran = connection.run(&body);
    std::thread::sleep(Duration::from_millis(ms));
    Ok(format!("{begun}\n{ran}"))
}

/// Executes the body between a read and a write of a counter, and waits for a row in `go`.
fn with_kv(Path(database): Path<String>, body: String) -> Result<String> {
    let things = kv::open("things")?;
    let count: u64 = things.get("count")?.unwrap_or(0);
    let connection = spin_2::sqlite::Connection::open_it(&database).map_err(Error::bad_request)?;
    let ran = connection.run(&body);
    while connection.run("SELECT a FROM go") == "[\"a\"] []" {
        std::thread::sleep(Duration::from_millis(1));
    }
    things.set("count", &(count + 1))?;
    Ok(ran)
}

fn add() -> Result<String> {
    Ok(kv::open("things")?.increment("count", 1)?.to_string())
}

const ENDLESS: &str = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)";

fn attack(Path(attack): Path<String>) -> Result<String> {
    let connection = spin_3::sqlite::Connection::open_it("default").map_err(Error::bad_request)?;
    let run = |statements: &[String]| {
        let ran: Vec<String> = statements.iter().map(|one| connection.run(one)).collect();
        ran.join("\n")
    };
    Ok(match attack.as_str() {
        "endless" => run(&[format!("{ENDLESS} SELECT count(*) FROM c")]),
        "memory" => run(&[
            format!("{ENDLESS} SELECT n FROM c ORDER BY -n"),
            format!("{ENDLESS} SELECT json_group_array(hex(randomblob(10000))) FROM c"),
            format!("{ENDLESS} SELECT count(DISTINCT n) FROM c"),
        ]),
        "values" => run(&[
            "SELECT zeroblob(1000000000)".to_owned(),
            "SELECT printf('%.*c', 1000000000, 'x')".to_owned(),
            "SELECT replace(hex(zeroblob(100000)), '0', hex(zeroblob(100)))".to_owned(),
        ]),
        "hold" => {
            let ran = run(&["BEGIN IMMEDIATE".to_owned()]);
            std::thread::sleep(Duration::from_millis(1000));
            ran
        }
        "fill" => {
            run(&["CREATE TABLE IF NOT EXISTS filled (content)".to_owned()]);
            loop {
                let ran = connection.run("INSERT INTO filled VALUES (zeroblob(1000000))");
                if ran != "[] []" {
                    return Ok(ran);
                }
            }
        }
        _ => return Err(Error::not_found("no such attack")),
    })
}

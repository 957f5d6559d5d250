//! SQL databases, through the real host, the real engine and a real disk.

use std::time::Duration;

use futures_util::future::join_all;
use http::{HeaderMap, Method};

use crate::harness::{Reply, Served, guest};

/// A function with the guest `sql`, one with the same code that may only read, one without a
/// grant, and one with the guest of the newest interface.
fn manifest(limits: &str) -> String {
    let (component, tasks) = (guest("sql"), guest("sql-31"));
    format!(
        r#"app = "shop"
[kv.things]
[sql.default]
{limits}
[sql.other]
[functions.writer]
component = {component:?}
routes = [{{ path = "/{{*rest}}" }}]
grants.sql = {{ default = "read-write", other = "read-write" }}
grants.kv = {{ things = "read-write" }}
[functions.reader]
component = {component:?}
routes = [{{ path = "/{{*rest}}", host = "reader.test" }}]
grants.sql = {{ default = "read" }}
[functions.none]
component = {component:?}
routes = [{{ path = "/{{*rest}}", host = "none.test" }}]
[functions.tasks]
component = {tasks:?}
routes = [{{ path = "/{{*rest}}", host = "tasks.test" }}]
grants.sql = {{ default = "read-write" }}
"#
    )
}

async fn served() -> Served {
    Served::manifest(&manifest("")).await
}

async fn ask(served: &Served, host: &str, path: &str, body: &str) -> Reply {
    let headers = HeaderMap::from_iter([(http::header::HOST, host.parse().unwrap())]);
    served.send(Method::POST, path, headers, body.to_owned().into()).await
}

/// The answer to a request that succeeds.
async fn said(served: &Served, host: &str, path: &str, body: &str) -> String {
    let reply = ask(served, host, path, body).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{path}: {}", reply.text());
    // The variants of the guest's bindings say whose they are.
    reply.text().replace("Value::", "").replace("Error::", "")
}

const NOTHING: &str = "[] []";

#[tokio::test(flavor = "multi_thread")]
async fn each_interface_leads_to_the_same_database() {
    let served = served().await;
    let create = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)";
    assert_eq!(said(&served, "localhost", "/run/2/default", create).await, NOTHING);
    let insert = "INSERT INTO users (name) VALUES ('Ada')";
    assert_eq!(said(&served, "localhost", "/run/3/default", insert).await, NOTHING);
    let two = "INSERT INTO users (name) VALUES ('Bea')\nSELECT * FROM users ORDER BY id";
    assert_eq!(
        said(&served, "tasks.test", "/run/default", two).await,
        "[] [] (2, 1)\n[\"id\", \"name\"] [[Integer(1), Text(\"Ada\")], [Integer(2), Text(\"Bea\")]] (2, 1)"
    );
    for dialect in ["2", "3"] {
        assert_eq!(
            said(&served, "localhost", &format!("/run/{dialect}/default"), "SELECT id FROM users")
                .await,
            "[\"id\"] [[Integer(1)], [Integer(2)]]"
        );
        let values = "SELECT ?1, ?2, ?3 AS half, ?4, ?5";
        assert_eq!(
            said(&served, "localhost", &format!("/values/{dialect}/default"), values).await,
            "[\"?1\", \"?2\", \"half\", \"?4\", \"?5\"] [[Null, Integer(-9223372036854775808), Real(0.5), Text(\"a\"), Blob([0, 255])]]"
        );
    }
    // Each database is one of its own.
    assert_eq!(
        said(&served, "localhost", "/run/2/other", "SELECT * FROM users").await,
        "Io(\"no such table: users\")"
    );
    let counts = "INSERT INTO users (name) VALUES ('Cleo'), ('Dora')\nDELETE FROM users";
    assert_eq!(said(&served, "localhost", "/counts/default", counts).await, "4 2\n4 4\n");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_those_of_the_interface() {
    let served = served().await;
    let run = "CREATE TABLE t (a UNIQUE)\nINSERT INTO t VALUES (1)\nINSERT INTO t VALUES (1)\nSELECT ?1\nnonsense";
    let words = "Io(\"UNIQUE constraint failed: t.a\")\nIo(\"the statement has 1 parameter, and 0 values were given\")\nIo(\"near \\\"nonsense\\\": syntax error (at byte 0)\")";
    let (two, three) = (
        said(&served, "localhost", "/run/2/default", run).await,
        said(&served, "localhost", "/run/3/other", run).await,
    );
    let expected = format!("{NOTHING}\n{NOTHING}\n{words}");
    assert_eq!((two, three), (expected.clone(), expected));
    for (host, database, sentence) in [
        (
            "localhost",
            "users",
            "the SQL database \"users\" is not granted: the function may use default, other",
        ),
        (
            "reader.test",
            "other",
            "the SQL database \"other\" is not granted: the function may use default",
        ),
        (
            "none.test",
            "default",
            "the SQL database \"default\" is not granted: the manifest grants no SQL database to the function",
        ),
    ] {
        served.lines();
        let answer = said(&served, host, &format!("/run/3/{database}"), "SELECT 1").await;
        assert_eq!(answer, "AccessDenied");
        let (_, lines) = served.record().await;
        assert!(lines.iter().any(|line| line.contains(sentence)), "{lines:?}");
    }
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_with_a_grant_to_read_reads() {
    let served = served().await;
    let setup = "CREATE TABLE t (a)\nINSERT INTO t VALUES (7)";
    said(&served, "localhost", "/run/3/default", setup).await;
    let run = "SELECT a FROM t\nINSERT INTO t VALUES (8)\nBEGIN IMMEDIATE";
    let sentence = "Io(\"the grant for the database `shop/default` is `read`, and this statement needs `read-write`\")";
    assert_eq!(
        said(&served, "reader.test", "/run/3/default", run).await,
        format!("[\"a\"] [[Integer(7)]]\n{sentence}\n{sentence}")
    );
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_guest_leaves_is_rolled_back() {
    let served = served().await;
    said(&served, "localhost", "/run/3/default", "CREATE TABLE t (a)").await;
    let insert = "INSERT INTO t VALUES (1)";
    let held = said(&served, "localhost", "/hold/default/1", insert).await;
    assert_eq!(held, format!("{NOTHING}\n{NOTHING}"));
    let count = "INSERT INTO t VALUES (2)\nSELECT a FROM t";
    assert_eq!(
        said(&served, "localhost", "/run/3/default", count).await,
        format!("{NOTHING}\n[\"a\"] [[Integer(2)]]")
    );
    // Writers wait for each other, and none is lost.
    said(&served, "localhost", "/run/3/default", "CREATE TABLE counts (n)").await;
    let one = async || {
        let run = "BEGIN\nINSERT INTO counts SELECT 1 + coalesce(max(n), 0) FROM counts\nCOMMIT";
        said(&served, "localhost", "/run/3/default", run).await
    };
    let all = join_all((0..24).map(|_| one())).await;
    assert_eq!(all, vec![[NOTHING; 3].join("\n"); 24]);
    assert_eq!(
        said(&served, "localhost", "/run/3/default", "SELECT count(*), max(n) FROM counts").await,
        "[\"count(*)\", \"max(n)\"] [[Integer(24), Integer(24)]]"
    );
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_says_so_by_name() {
    let served = Served::manifest(&manifest("max_mib = 1")).await;
    let run = "CREATE TABLE t (a)\nINSERT INTO t VALUES (zeroblob(700000))\nINSERT INTO t VALUES (zeroblob(700000))";
    served.lines();
    assert_eq!(
        said(&served, "localhost", "/run/3/default", run).await,
        format!("{NOTHING}\n{NOTHING}\nDatabaseFull")
    );
    let (_, lines) = served.record().await;
    let sentence =
        "the database `shop/default` is full: it may have 1 MiB, and all databases of the tenant";
    assert!(lines.iter().any(|line| line.contains(sentence)), "{lines:?}");
    assert_eq!(said(&served, "localhost", "/run/3/default", "DELETE FROM t").await, NOTHING);
    assert_eq!(
        said(&served, "localhost", "/run/3/default", "INSERT INTO t VALUES (zeroblob(700000))")
            .await,
        NOTHING
    );
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_opens_so_many_connections() {
    let served = served().await;
    assert_eq!(
        said(&served, "localhost", "/open/default/10", "").await,
        "8 Io(\"8 SQL connections of the invocation are open already\")"
    );
    // They are free again.
    assert_eq!(said(&served, "localhost", "/open/default/8", "").await, "8 ");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_wrote_with_sql_does_not_run_again() {
    let served = served().await;
    let create = "CREATE TABLE t (a)\nCREATE TABLE go (a)";
    said(&served, "localhost", "/run/3/default", create).await;
    // It reads the counter and writes a row. Then it waits for a row of `go`.
    let losing = ask(&served, "localhost", "/with-kv/default", "INSERT INTO t VALUES (1)");
    let winning = async {
        let count = "SELECT count(*) FROM t";
        while said(&served, "localhost", "/run/3/default", count).await.contains("(0)") {}
        said(&served, "localhost", "/add", "").await;
        said(&served, "localhost", "/run/3/default", "INSERT INTO go VALUES (1)").await
    };
    let (lost, _) = tokio::join!(losing, winning);
    assert_eq!((lost.status, lost.outcome()), (409, "conflict"));
    let sentence = "it does not run again, because it has executed SQL that may write";
    loop {
        let (record, _) = served.record().await;
        if record["outcome"] == "conflict" {
            assert!(record["detail"].as_str().unwrap().contains(sentence), "{record}");
            break;
        }
    }
    // SQL commits on its own.
    assert_eq!(
        said(&served, "localhost", "/run/3/default", "SELECT count(*) FROM t").await,
        "[\"count(*)\"] [[Integer(1)]]"
    );
    served.assert_idle().await;
}

const ENDLESS: &str =
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_has_a_time_of_its_own() {
    let served = Served::manifest(&manifest("max_statement_ms = 50")).await;
    let run = format!("{ENDLESS}\nSELECT 1");
    assert_eq!(
        said(&served, "localhost", "/run/3/default", &run).await,
        "Io(\"the statement ran for longer than 50 ms (`max_statement_ms`)\")\n[\"1\"] [[Integer(1)]]"
    );
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_statements_is_that_of_the_invocation() {
    let text = manifest("max_statement_ms = 60_000");
    let limits =
        "limits = { cpu_ms = 100, deadline_ms = 60_000 }\ngrants.sql = { default = \"read-write\"";
    let text = text.replace("grants.sql = { default = \"read-write\"", limits);
    let served = Served::manifest(&text).await;
    for (host, path) in [("localhost", "/run/3/default"), ("tasks.test", "/run/default")] {
        let reply = ask(&served, host, path, ENDLESS).await;
        assert_eq!((reply.status, reply.outcome()), (504, "cpu_exceeded"), "{}", reply.text());
    }
    let reply = ask(&served, "localhost", "/run/3/default", "SELECT 1").await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"));
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_interrupts_a_statement() {
    let text = manifest("max_statement_ms = 60_000");
    let limits =
        "limits = { cpu_ms = 60_000, deadline_ms = 100 }\ngrants.sql = { default = \"read-write\"";
    let text = text.replace("grants.sql = { default = \"read-write\"", limits);
    let served = Served::manifest(&text).await;
    let reply =
        ask(&served, "localhost", "/run/3/default", &format!("CREATE TABLE t (a)\n{ENDLESS}"))
            .await;
    assert_eq!((reply.status, reply.outcome()), (504, "deadline_exceeded"));
    // The connection gives the turn of writing back.
    let insert = "INSERT INTO t VALUES (1)\nSELECT count(*) FROM t";
    let until = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let reply = ask(&served, "localhost", "/run/3/default", insert).await;
        if reply.outcome() == "ok" {
            assert!(reply.text().ends_with("[[Value::Integer(1)]]"), "{}", reply.text());
            break;
        }
        assert!(std::time::Instant::now() < until, "{}", reply.text());
    }
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_the_fault_of_no_other() {
    let served = served().await;
    let state = served.host.settings().state_dir.clone().unwrap();
    said(&served, "localhost", "/run/3/other", "CREATE TABLE t (a)").await;
    // Before it is opened for the first time.
    std::fs::write(state.join("local/sql/shop/default.db"), [7; 8192]).unwrap();
    assert_eq!(
        said(&served, "localhost", "/run/3/default", "SELECT 1").await,
        "Io(\"the state of the tenant cannot be used now\")"
    );
    assert_eq!(
        said(&served, "localhost", "/run/3/other", "SELECT count(*) FROM t").await,
        "[\"count(*)\"] [[Integer(0)]]"
    );
    served.assert_idle().await;
}

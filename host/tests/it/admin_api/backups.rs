//! Backups and checks of a host that runs, and other programs that open its databases.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use http::Method;
use lacewing_base::name::TenantName;
use lacewing_store::{
    EffectLimits, StateStore, Transaction,
    embedded::{EmbeddedOptions, EmbeddedStore, install_heap},
    kv::KvStore,
};
use serde_json::Value;

use super::{Running, json, refused};

/// A backup of a host whose functions write is a directory of state, of one moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_while_functions_write() {
    let host = Running::with("", &[]);
    assert_eq!(host.function("/put/account:a/1000").await.status, 204);
    let over = AtomicBool::new(false);
    let transfers = async {
        let mut count = 0;
        while !over.load(Relaxed) {
            let path = format!("/transfer/a/b{}/1", count % 7);
            assert_eq!(host.function(&path).await.status, 204);
            count += 1;
        }
        count
    };
    let backups = async {
        for n in 0..5 {
            let to = host.path(&format!("copy{n}"));
            fs::create_dir(&to).unwrap();
            let order = format!("{{\"directory\":{to:?}}}");
            let fields = [("content-type", "application/json")];
            let made = host.send(Method::POST, "/v1/backups", &fields, order).await;
            assert_eq!(made.status, 201, "{}", made.text());
            let checked = host.send(Method::POST, "/v1/tenants/local/checks", &[], "").await;
            assert_eq!(json(&checked)["faults"], serde_json::json!([]));
        }
        over.store(true, Relaxed);
    };
    let (transfers, ()) = tokio::join!(transfers, backups);
    assert!(transfers > 5, "{transfers} transfers");
    for n in 0..5 {
        let copy = host.path(&format!("copy{n}"));
        assert!(!copy.join("lacewing.admin").exists(), "a backup has no token");
        assert_eq!(sum(&copy), 1000);
    }
}

/// The sum of all accounts in a directory of state.
fn sum(dir: &Path) -> i64 {
    let store = EmbeddedStore::open(dir, EmbeddedOptions::default()).unwrap();
    let tenant: TenantName = "local".parse().unwrap();
    let state = store.tenant(&tenant, 0);
    let things = KvStore { id: "shop/things".into(), max_bytes: 0, max_value_bytes: 0 };
    let mut read = Transaction::new(state, EffectLimits { count: 0, bytes: 0 });
    let keys = read.list(&things, "account:", None, 1000).unwrap().keys;
    let values = read.get_many(&things, &keys).unwrap().into_iter().flatten();
    values.map(|entry| String::from_utf8(entry.value).unwrap().parse::<i64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_into_an_empty_directory_of_the_operator() {
    let host = Running::start();
    host.put("ada", "1").await;
    let order = async |order: &str| {
        let fields = [("content-type", "application/json; charset=utf-8")];
        host.send(Method::POST, "/v1/backups", &fields, order.to_owned()).await
    };
    let directory = |path: &Path| format!("{{\"directory\":{path:?}}}");
    let full = host.path("app");
    for (text, status, part) in [
        (directory(&host.path("nothing")), 404, "is not there: make an empty directory"),
        (directory(&full), 409, "is not empty: name a directory that does not exist"),
        (directory(&full.join("lacewing.toml")), 409, "is no directory"),
        (directory(&host.path("state/local")), 409, "is inside of the state directory"),
        ("{\"directory\":\"copy\"}".to_owned(), 400, "is to be an absolute path"),
        ("{\"directory\":\"/\\u0000\"}".to_owned(), 400, "is to be an absolute path"),
        ("{}".to_owned(), 400, "missing field `directory`"),
        ("{".to_owned(), 400, "the content is not as described"),
        ("{\"directory\":\"/x\",\"more\":1}".to_owned(), 400, "unknown field `more`"),
        (format!("{{\"directory\":{full:?},\"tenant\":\"x\"}}"), 404, "there is no tenant \"x\""),
    ] {
        let (found, detail) = refused(&order(&text).await);
        assert_eq!(found, status, "{text}: {detail}");
        assert!(detail.contains(part), "{detail}");
    }
    let plain = host.send(Method::POST, "/v1/backups", &[], "{}").await;
    assert_eq!(refused(&plain).0, 415);
    fs::create_dir(host.path("one")).unwrap();
    let one = format!("{{\"directory\":{:?},\"tenant\":\"local\"}}", host.path("one"));
    let made = order(&one).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    assert_eq!(made["tenants"], serde_json::json!(["local"]));
}

/// Another program that opens a database in use, or its copy.
#[tokio::test(flavor = "multi_thread")]
async fn other_programs_open_copies_and_no_database_in_use() {
    let host = Running::start();
    host.put("ada", "1").await;
    let live = host.path("state/local/state.db");
    let read_only = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let count = |connection: rusqlite::Connection| {
        connection.query_row("SELECT count(*) FROM kv", [], |row| row.get::<_, u32>(0))
    };
    // Other tests of this process have guests that use SQL.
    assert!(install_heap());
    let opened = rusqlite::Connection::open_with_flags(&live, read_only).and_then(count);
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("locked"), "{error}");
    let copy = host.path("copy");
    fs::create_dir(&copy).unwrap();
    let order = format!("{{\"directory\":{copy:?}}}");
    let fields = [("content-type", "application/json")];
    assert_eq!(host.send(Method::POST, "/v1/backups", &fields, order).await.status, 201);
    let file = copy.join("local/state.db");
    let opened = rusqlite::Connection::open_with_flags(&file, read_only).unwrap();
    assert_eq!(count(opened), Ok(1));
    let opened = rusqlite::Connection::open(&file).unwrap();
    opened.execute("DELETE FROM kv", []).unwrap();
    assert_eq!(host.function("/get/ada").await.text(), "1");
    assert_eq!(host.put("bea", "1").await.status, 204);
}

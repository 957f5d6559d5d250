//! The interfaces of Spin 4, which are async, and imports of Spin that this host does not have.

use crate::{
    components::component_file,
    harness::{Served, guest},
    tenants::Tenants,
};

fn manifest() -> String {
    format!(
        r#"app = "shop"
[kv.default]
[kv.spare]
[functions.spin]
component = {:?}
routes = ["/{{*rest}}"]
env = {{ region = "eu", TOKEN = "1" }}
limits = {{ cpu_ms = 2000 }}
grants.kv = {{ default = "read-write", spare = "read" }}
"#,
        guest("spin-3")
    )
}

async fn text(served: &Served, path: &str) -> String {
    let reply = served.get(path).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{path}: {}", reply.text());
    reply.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn async_calls_lead_to_the_stores_of_the_app() {
    let served = Served::manifest(&manifest()).await;
    assert_eq!(
        text(&served, "/store/default").await,
        r#"Ok("Some([49]) None [true, false] [\"a\"] Err(Error::Other(\"the key has 600 bytes; a key has 1 to 512\"))")"#
    );
    // As in Spin, a store that the manifest does not grant may be there or not.
    for store in ["none", "spare"] {
        let said = text(&served, &format!("/store/{store}")).await;
        assert_eq!(said, "Err(Error::AccessDenied)", "{store}");
    }
    let sentence = "the grant for the kv store `spare` is `read`, and this call needs `read-write`";
    assert!(served.lines().iter().any(|line| line.contains(sentence)));
    for (name, said) in [
        ("region", r#"Ok("eu")"#),
        ("token", r#"Ok("1")"#),
        (
            "none",
            r#"Err(Error::Undefined("the manifest has no variable `none` in `env`, and grants no such secret"))"#,
        ),
        (
            "No",
            r#"Err(Error::InvalidName("\"No\": a name has lower-case letters, digits and underscores only"))"#,
        ),
    ] {
        assert_eq!(text(&served, &format!("/variable/{name}")).await, said);
    }
    served.assert_idle().await;
}

/// More keys than one page has, and calls that wait for the disk at once.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_a_stream_that_may_be_left() {
    let served = Served::manifest(&manifest()).await;
    assert_eq!(text(&served, "/together/2500").await, "Ok((2500, true))");
    let some = text(&served, "/some/3").await;
    assert_eq!(some, r#"Ok(["key-00000", "key-00001", "key-00002"])"#);
    let all = text(&served, "/some/9999").await;
    assert_eq!(all.matches("key-").count(), 2500);
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_spin_connects_to_are_refused_with_what_to_use() {
    let tenants = Tenants::hostile("").await;
    for (import, sentence) in [
        (
            "fermyon:spin/redis@2.0.0",
            "it connects to no Redis server. Use a kv store of the app (Spin's key-value)",
        ),
        (
            "spin:postgres/postgres@4.0.0",
            "it connects to no SQL server. Use a kv store of the app (Spin's key-value), or the server's HTTP interface (wasi:http)",
        ),
    ] {
        let text = format!(
            r#"(component
                (import "{import}" (instance (export "open" (func (result u32)))))
                (component $empty)
                (instance $i (instantiate $empty))
                (export "wasi:http/incoming-handler@0.2.0" (instance $i)))"#
        );
        let (_dir, file) = component_file(&text);
        let error = tenants.deploy("suspect", &file, "").await.unwrap_err();
        let expected = format!("imports {import}, which this host does not have: {sentence}");
        assert!(error.contains(&expected), "{error}");
        tenants.neighbour_is_served().await;
    }
}

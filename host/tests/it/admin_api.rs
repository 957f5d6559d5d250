//! The API of the admin listener, through a real process: entries, objects, checks and backups of a
//! host that runs.

mod backups;
mod document;
pub(crate) mod objects;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Child,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::Full;
use serde_json::Value;

use crate::{
    client::{exchange, get},
    harness::{Reply, guest},
    process::{Up, command},
};

/// A host with an app whose function writes to the store `things`, and has two buckets.
pub(crate) struct Running {
    pub(crate) up: Up,
    pub(crate) dir: tempfile::TempDir,
    token: String,
}

impl Running {
    pub(crate) fn start() -> Running {
        Running::with("max_mib = 1\nmax_value_kib = 8\n", &[])
    }

    /// With these lines for the store, and these arguments.
    pub(crate) fn with(store: &str, args: &[&str]) -> Running {
        Running::beside(tempfile::tempdir().unwrap(), store, args)
    }

    /// In a directory that may have state in `state`.
    pub(crate) fn beside(dir: tempfile::TempDir, store: &str, args: &[&str]) -> Running {
        let manifest = format!(
            "app = \"shop\"\n[kv.things]\n{store}[functions.api]\ncomponent = {:?}\nroutes = [\"/{{*rest}}\"]\ngrants.kv = {{ things = \"read-write\" }}\ngrants.buckets = {{ files = \"read\", large = \"read\" }}\n[buckets.files]\nmax_mib = 2\nmax_object_mib = 1\n[buckets.large]\n",
            guest("state")
        );
        fs::create_dir(dir.path().join("app")).unwrap();
        fs::write(dir.path().join("app/lacewing.toml"), manifest).unwrap();
        let (app, state) = (dir.path().join("app"), dir.path().join("state"));
        let places = [app.to_str().unwrap(), "--state", state.to_str().unwrap()];
        let up = Up::spawn(&[&places[..], args].concat(), |_| {}).serving();
        let token = token(&state);
        Running { up, dir, token }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// One request with the token.
    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
        content: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(target).header("host", "localhost");
        let bearer = format!("Bearer {}", self.token);
        request = request.header(header::AUTHORIZATION, bearer);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(content.into())).unwrap();
        Reply::read(exchange(self.up.admin, request).await).await
    }

    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.send(Method::GET, target, &[], "").await
    }

    async fn put(&self, key: &str, value: &str) -> Reply {
        self.send(Method::PUT, &format!("{KEYS}/{key}"), &[], value.to_owned()).await
    }

    /// The answer of the app's function.
    pub(crate) async fn function(&self, path: &str) -> Reply {
        get(self.up.address, "localhost", path).await
    }
}

/// A host without an admin listener. Killed when dropped.
pub(crate) struct Unattended(Child);

impl Unattended {
    /// Starts it, and waits until it has its state open.
    pub(crate) fn start(app: &Path, state: &Path) -> Unattended {
        let mut up = command(&["up", "--listen=127.0.0.1:0", "--admin=off"]);
        let mut child = up.arg(app).arg("--state").arg(state).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.find(|line| line.as_ref().unwrap().contains("state in "));
        // The rest is read as long as the host runs.
        std::thread::spawn(move || lines.count());
        let host = Unattended(child);
        assert!(said.is_some(), "it does not serve");
        host
    }
}

impl Drop for Unattended {
    fn drop(&mut self) {
        // It has ended, or is ended here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The token in a directory of state.
pub(crate) fn token(state: &Path) -> String {
    let text = fs::read_to_string(state.join("lacewing.admin")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    file["token"].as_str().unwrap().to_owned()
}

const KEYS: &str = "/v1/tenants/local/kv/shop/things/keys";

/// The status, and the detail of a problem.
#[track_caller]
fn refused(reply: &Reply) -> (u16, String) {
    let problem = reply.problem();
    assert_eq!(problem["status"], reply.status);
    (reply.status, problem["detail"].as_str().unwrap().to_owned())
}

fn json(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.headers["content-type"], "application/json");
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_and_a_function_share_the_entries() {
    let host = Running::start();
    let set = host.put("ada", "from outside").await;
    assert_eq!((set.status, set.text()), (204, ""));
    assert_eq!(host.function("/get/ada").await.text(), "from outside");
    assert_eq!(host.function("/put/bea/inside").await.status, 204);
    let found = host.get(&format!("{KEYS}/bea")).await;
    assert_eq!((found.status, found.text()), (200, "inside"));
    assert_eq!(found.headers["content-type"], "application/octet-stream");
    assert_eq!(found.headers["cache-control"], "no-store");
    assert_eq!(found.headers["x-content-type-options"], "nosniff");
    let head = host.send(Method::HEAD, &format!("{KEYS}/bea"), &[], "").await;
    assert_eq!((head.status, head.text()), (200, ""));
    assert_eq!(head.headers["etag"], found.headers["etag"]);
    let gone = host.send(Method::DELETE, &format!("{KEYS}/bea"), &[], "").await;
    assert_eq!(gone.status, 204);
    assert_eq!(host.function("/get/bea").await.status, 404);
    let again = host.send(Method::DELETE, &format!("{KEYS}/bea"), &[], "").await;
    let missing = "there is no entry \"bea\" in the kv store `shop/things`".to_owned();
    assert_eq!(refused(&again), (404, missing.clone()));
    assert_eq!(refused(&host.get(&format!("{KEYS}/bea")).await), (404, missing));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_has_conditions_on_the_version() {
    let host = Running::start();
    let key = format!("{KEYS}/ada");
    let put = async |fields: &[(&str, &str)], value: &'static str| {
        host.send(Method::PUT, &key, fields, value).await
    };
    let first = put(&[("if-none-match", "*")], "1").await;
    assert_eq!(first.status, 204);
    let first = first.headers["etag"].to_str().unwrap().to_owned();
    let lost = put(&[("if-none-match", "*")], "2").await;
    assert_eq!(refused(&lost), (412, format!("the entry has the tag {first}")));
    let second = put(&[("if-match", &first)], "2").await;
    assert_eq!(second.status, 204);
    let second = second.headers["etag"].to_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(put(&[("if-match", &first)], "3").await.status, 412);
    let unchanged = host.send(Method::GET, &key, &[("if-none-match", &second)], "").await;
    assert_eq!((unchanged.status, unchanged.text()), (304, ""));
    let stale = host.send(Method::DELETE, &key, &[("if-match", &first)], "").await;
    assert_eq!(stale.status, 412);
    assert_eq!(host.get(&key).await.text(), "2");
    assert_eq!(host.send(Method::DELETE, &key, &[("if-match", &second)], "").await.status, 204);
    let absent = put(&[("if-match", "*")], "3").await;
    assert_eq!(refused(&absent), (412, "the key has no entry".to_owned()));
    assert_eq!(put(&[("if-match", "3")], "3").await.status, 400);
}

/// Of those that set an entry at the same version, one succeeds.
#[tokio::test(flavor = "multi_thread")]
async fn writes_at_one_version_exclude_each_other() {
    let host = Running::start();
    for _ in 0..5 {
        let now = host.put("ada", "0").await.headers["etag"].to_str().unwrap().to_owned();
        let key = format!("{KEYS}/ada");
        let fields = [("if-match", now.as_str())];
        let write = |_| host.send(Method::PUT, &key, &fields, "1");
        let replies = futures_util::future::join_all((0..8).map(write)).await;
        let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [&[204][..], &[412; 7]].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_has_a_time_to_live() {
    let host = Running::start();
    let expires = |query: &str| format!("{KEYS}/soon?expires_in_s={query}");
    let put = async |query: &str| host.send(Method::PUT, &expires(query), &[], "1").await;
    assert_eq!(put("3600").await.status, 204);
    let found = host.get(&format!("{KEYS}/soon")).await;
    let at: u64 = found.headers["lacewing-expires-ms"].to_str().unwrap().parse().unwrap();
    assert!(at > 1_700_000_000_000, "{at}");
    assert_eq!(put("0").await.status, 204);
    assert_eq!(host.get(&format!("{KEYS}/soon")).await.status, 404);
    for wrong in ["-1", "x", "", "9007199254740992"] {
        let (status, detail) = refused(&put(wrong).await);
        assert_eq!(status, 400);
        assert!(detail.ends_with("a whole number from 0 to 9007199254740991"), "{detail}");
    }
    host.put("stays", "1").await;
    assert!(!host.get(&format!("{KEYS}/stays")).await.headers.contains_key("lacewing-expires-ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_listed_by_prefix_in_pages() {
    let host = Running::start();
    for key in ["a%2F1", "a%2F2", "a%2F3", "b", "%C3%A9"] {
        assert_eq!(host.put(key, "1").await.status, 204, "{key}");
    }
    let page = async |query: &str| json(&host.get(&format!("{KEYS}?{query}")).await);
    let all = page("").await;
    assert_eq!(all["keys"], serde_json::json!(["a/1", "a/2", "a/3", "b", "é"]));
    assert_eq!(all["next"], Value::Null);
    let first = page("prefix=a/&limit=2").await;
    assert_eq!(first, serde_json::json!({ "keys": ["a/1", "a/2"], "next": "a/2" }));
    let second = page("prefix=a/&limit=2&after=a%2F2").await;
    assert_eq!(second, serde_json::json!({ "keys": ["a/3"], "next": null }));
    let unknown = host.get("/v1/tenants/local/kv/shop/other/keys").await;
    assert_eq!(
        refused(&unknown),
        (404, "tenant `local` has no kv store `shop/other`: no deployed function is granted it, and it has no entries".to_owned())
    );
    let tenant = host.get("/v1/tenants/acme/kv/shop/things/keys").await;
    assert_eq!(refused(&tenant), (404, "there is no tenant \"acme\" with state".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_show_what_is_used_of_their_quota() {
    let host = Running::start();
    let stores = async || json(&host.get("/v1/tenants/local/kv").await);
    let empty = stores().await;
    assert_eq!(empty["stores"][0]["name"], "things");
    assert_eq!(empty["used_bytes"], 0);
    // A look makes nothing.
    assert!(!host.path("state/local").exists());
    assert_eq!(host.function("/put/ada/1234").await.status, 204);
    let used = stores().await;
    assert_eq!(
        used,
        serde_json::json!({
            "stores": [{
                "app": "shop", "name": "things", "entries": 1, "used_bytes": 3 + 4 + 64,
                "max_bytes": 1 << 20, "max_value_bytes": 8 << 10,
            }],
            "used_bytes": 71,
            "max_bytes": 10_u64 << 30,
            "next": null,
        })
    );
    let tenants = json(&host.get("/v1/tenants").await);
    assert_eq!(tenants, serde_json::json!({ "tenants": ["local"], "next": null }));
}

/// The bounds of a store hold for its operator too, and a full store can be emptied.
#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_for_the_operator() {
    let host = Running::start();
    let large = host.put("large", &"x".repeat((8 << 10) + 1)).await;
    let rule = "the value has 8193 bytes; the limit is 8192 (`max_value_kib`)".to_owned();
    assert_eq!(refused(&large), (413, rule));
    let value = "x".repeat(8 << 10);
    let mut written = 0;
    let full = loop {
        let reply = host.put(&format!("n{written:04}"), &value).await;
        if reply.status != 204 {
            break reply;
        }
        written += 1;
    };
    assert_eq!(written, (1 << 20) / (5 + 64 + (8 << 10)));
    let (status, detail) = refused(&full);
    assert_eq!(status, 507);
    assert!(detail.starts_with("the kv store `shop/things` would have "), "{detail}");
    assert_eq!(host.function("/put/x/1").await.status, 204, "there is room for a small one");
    let delete = host.send(Method::DELETE, &format!("{KEYS}/n0000"), &[], "").await;
    assert_eq!(delete.status, 204);
    assert_eq!(host.put("n0000", &value[100..]).await.status, 204);
}

/// State of an app that is not deployed any more can be looked at and emptied, and does not grow.
#[tokio::test(flavor = "multi_thread")]
async fn state_without_an_app_can_be_emptied() {
    let host = Running::start();
    assert_eq!(host.put("ada", "1").await.status, 204);
    let manifest = host.path("app/lacewing.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("things", "others")).unwrap();
    host.up.signal("HUP");
    host.up.line("Swapped local/shop/api@");
    assert_eq!(host.get(&format!("{KEYS}/ada")).await.text(), "1");
    let stores = json(&host.get("/v1/tenants/local/kv").await);
    assert_eq!(stores["stores"][0]["name"], "others");
    assert_eq!(stores["stores"][1]["name"], "things");
    assert_eq!(stores["stores"][1]["max_bytes"], Value::Null);
    let grown = host.put("bea", "1").await;
    assert_eq!(
        refused(&grown),
        (409, "no deployed function is granted the kv store `shop/things`: it can be read and emptied only".to_owned())
    );
    assert_eq!(host.send(Method::DELETE, &format!("{KEYS}/ada"), &[], "").await.status, 204);
}

/// A host that ends takes its token with it, and the next one makes another.
#[tokio::test(flavor = "multi_thread")]
async fn each_start_has_a_token_of_its_own() {
    let first = Running::start();
    let state = first.path("state");
    let arguments = [first.path("app"), state.clone()];
    let [app, dir] = arguments.each_ref().map(|path| path.to_str().unwrap());
    let Running { up, dir: _kept, token: old } = first;
    up.signal("KILL");
    up.wait();
    let up = Up::start(&[app, "--state", dir]);
    assert_ne!(token(&state), old);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", format!("Bearer {old}").parse().unwrap());
    let mut request = Request::get("/v1/tenants").header("host", "localhost");
    request.headers_mut().unwrap().extend(headers);
    let reply = exchange(up.admin, request.body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(Reply::read(reply).await.status, 401);
    drop(up);
    // A host without the listener leaves no address of another.
    let _off = Unattended::start(Path::new(app), &state);
    assert!(!state.join("lacewing.admin").exists());
}

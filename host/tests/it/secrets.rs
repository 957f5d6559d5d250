//! Secrets, through the real host: who reads them, when a new value is there, and where none is.

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::Arc,
};

use lacewing::{
    config::HostFile,
    control::{Components, Host, Ledger},
    telemetry::{InvocationLog, Sink, metrics::Exposition},
};
use lacewing_store::{
    embedded::{EmbeddedOptions, EmbeddedStore},
    secrets::{Secret, SecretStore},
};

use crate::{
    client,
    harness::{Served, compiler, guest, lacewing},
    process::Up,
    tenants::{Tenants, shared_cache},
};

const VALUE: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

/// A function of the guest `secrets` with that grant.
fn manifest(secrets: &str) -> String {
    format!(
        r#"app = "shop"
[functions.api]
component = {:?}
routes = ["/{{*rest}}"]
env = {{ REGION = "eu" }}
limits = {{ cpu_ms = 200 }}
grants.secrets = {secrets}
"#,
        guest("secrets")
    )
}

/// Sets a secret as the command does, in another process as far as the host can tell.
pub(crate) fn set(state: &Path, tenant: &str, app: &str, name: &str, value: &str) {
    let secrets = Arc::new(SecretStore::at(state));
    let secrets = secrets.app(&tenant.parse().unwrap(), &app.parse().unwrap());
    secrets.set(&name.parse().unwrap(), &Secret::new(value.to_owned()).unwrap()).unwrap();
}

async fn served(text: &str, state: &Path) -> Served {
    Served::manifest_with(text, |settings| settings.state_dir = Some(state.to_owned())).await
}

async fn text(served: &Served, path: &str) -> String {
    let reply = served.get(path).await;
    assert_eq!((reply.status, reply.outcome()), (200, "ok"), "{path}: {}", reply.text());
    reply.text().to_owned()
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

/// Whether a value is in a file below a folder, as it is or in hexadecimal digits.
fn holds(folder: &Path, value: &str) -> bool {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    files(folder).iter().any(|file| {
        let bytes = std::fs::read(file).unwrap();
        [value.as_bytes(), hex.as_bytes()]
            .iter()
            .any(|value| bytes.windows(value.len()).any(|window| window == *value))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_value_reaches_the_next_invocation() {
    let dir = tempfile::tempdir().unwrap();
    let served = served(&manifest(r#"["KEY"]"#), dir.path()).await;
    for value in ["first", "second", VALUE] {
        set(dir.path(), "local", "shop", "KEY", value);
        assert_eq!(text(&served, "/read/KEY").await, value);
        assert_eq!(text(&served, "/twice/KEY").await, "same");
    }
    let environment = text(&served, "/environment").await;
    assert!(environment.contains("REGION=eu") && !environment.contains("KEY"), "{environment}");
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_used_again_reads_the_new_value() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!(
        "app = \"shop\"\n[functions.api]\ncomponent = {:?}\nroutes = [\"/{{*rest}}\"]\n\
         limits = {{ reuse = 100 }}\ngrants.secrets = [\"KEY\"]\n",
        guest("spin-3")
    );
    let served = served(&manifest, dir.path()).await;
    for value in ["first", "second"] {
        set(dir.path(), "local", "shop", "KEY", value);
        assert_eq!(text(&served, "/variable/key").await, format!("Ok({value:?})"));
    }
    served.assert_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_told_why_it_gets_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    set(dir.path(), "local", "shop", "OTHER", VALUE);
    let served = served(&manifest(r#"["KEY", "SEALED"]"#), dir.path()).await;
    let folder = dir.path().join("local/secrets/shop");
    std::fs::copy(folder.join("OTHER"), folder.join("SEALED")).unwrap();
    for (name, status, sentence) in [
        (
            "KEY",
            503,
            "the secret `KEY` is not set: the operator sets it with `lacewing secret set`",
        ),
        ("OTHER", 500, "the secret \"OTHER\" is not granted: the function may read KEY, SEALED"),
        // The host's log has the reason.
        ("SEALED", 503, "the secret `SEALED` cannot be read now"),
    ] {
        served.lines();
        let reply = served.get(&format!("/read/{name}")).await;
        assert_eq!((reply.status, reply.outcome()), (status, "ok"), "{name}");
        assert!(!reply.text().contains("secret"), "the client reads none of it: {}", reply.text());
        let (_, lines) = served.record().await;
        assert!(lines.iter().any(|line| line.contains(sentence)), "{lines:?}");
    }
    set(dir.path(), "local", "shop", "SEALED", "opened");
    assert_eq!(text(&served, "/read/SEALED").await, "opened");
    served.assert_idle().await;
    let none = Served::manifest(&manifest("[]")).await;
    assert_eq!(none.get("/read/KEY").await.status, 500);
    let (_, lines) = none.record().await;
    let sentence =
        "the secret \"KEY\" is not granted: the manifest grants no secret to the function";
    assert!(lines.iter().any(|line| line.contains(sentence)), "{lines:?}");
}

/// Four apps of two tenants, each with the same component and the same settings.
fn tenants(dir: &Path) -> HostFile {
    let mut file = String::new();
    for tenant in ["acme", "rival"] {
        for app in ["shop", "blog"] {
            let folder = dir.join(tenant).join(app);
            std::fs::create_dir_all(&folder).unwrap();
            let text = format!(
                "app = {app:?}\n[functions.api]\ncomponent = {:?}\n\
                 routes = [{{ path = \"/{{*rest}}\", host = \"{app}.{tenant}.test\" }}]\n\
                 grants.secrets = [\"KEY\"]\n",
                guest("secrets")
            );
            std::fs::write(folder.join("lacewing.toml"), text).unwrap();
        }
        file += &format!(
            "[tenants.{tenant}]\nhosts = [\"*.{tenant}.test\"]\ncomponent_dirs = [\"/\"]\n\
             apps = [\"{tenant}/shop\", \"{tenant}/blog\"]\n"
        );
    }
    std::fs::write(dir.join("host.toml"), file).unwrap();
    let mut file = HostFile::load(&dir.join("host.toml")).unwrap().0;
    file.settings.cache_dir = shared_cache();
    file.settings.compilation.program = compiler();
    file.settings.max_sandboxes = 64;
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_have_all_in_common_read_the_secrets_of_their_own_app() {
    let dir = tempfile::tempdir().unwrap();
    let file = tenants(dir.path());
    let state = file.settings.state_dir.clone().unwrap();
    for (tenant, app, value) in
        [("acme", "shop", "1"), ("acme", "blog", "2"), ("rival", "shop", "3")]
    {
        set(&state, tenant, app, "KEY", value);
    }
    let project = dir.path().join("host.toml");
    let start =
        |sink: &Sink| Host::new(file.settings.clone(), sink.clone(), InvocationLog::All).unwrap();
    let first = start(&Sink::memory());
    first.deploy(&file, &Components::new()).await.unwrap();
    let began = std::time::SystemTime::now();
    let settings = file.settings.clone();
    first.remember(&project, &first.deployed(), &file, settings, Vec::new(), began).unwrap();
    // The next start takes all from the ledger.
    let (second, sink) = (start(&Sink::memory()), Sink::memory());
    second.restore(&Ledger::find(&file.settings.cache_dir, &project).unwrap()).unwrap();
    let second = Served::host(second, sink, tempfile::tempdir().unwrap()).await;
    let first = Served::host(first, Sink::memory(), dir).await;
    for served in [&first, &second] {
        for (host, status, value) in [
            ("shop.acme.test", 200, "1"),
            ("blog.acme.test", 200, "2"),
            ("shop.rival.test", 200, "3"),
            ("blog.rival.test", 503, ""),
        ] {
            let reply = client::get(served.address, host, "/read/KEY").await;
            assert_eq!(reply.status, status, "{host}: {}", reply.text());
            assert!(status != 200 || reply.text() == value, "{host}: {}", reply.text());
        }
        served.assert_idle().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hosts_records_have_no_secret_however_a_guest_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (state, cache) = (dir.path().join("state"), dir.path().join("cache"));
    set(&state, "local", "shop", "KEY", VALUE);
    let served = Served::manifest_with(&manifest(r#"["KEY"]"#), |settings| {
        settings.state_dir = Some(state.clone());
        settings.cache_dir.clone_from(&cache);
    })
    .await;
    for (how, status, outcome) in [
        ("read", 200, "ok"),
        ("trap", 502, "trap"),
        ("panic", 502, "trap"),
        ("exit", 502, "trap"),
        ("spin", 504, "cpu_exceeded"),
    ] {
        served.lines();
        let reply = served.get(&format!("/{how}/KEY")).await;
        assert_eq!((reply.status, reply.outcome()), (status, outcome), "{how}");
        let shown = reply.status != 200 && reply.text().contains(VALUE);
        assert!(!shown && !format!("{:?}", reply.headers).contains(VALUE), "{how}");
        let (record, lines) = served.record().await;
        assert!(!record.to_string().contains(VALUE), "{how}: {record}");
        // What a guest prints is its own, as its panic is.
        assert_eq!(lines.concat().contains(VALUE), how == "panic", "{how}: {lines:?}");
    }
    assert_eq!(served.get("/print/KEY").await.status, 204);
    assert_eq!(served.lines(), [format!("Secret(..) is {VALUE}")]);
    assert!(!served.host.metrics().expose(Exposition::OpenMetrics).contains(VALUE));
    served.assert_idle().await;
    assert!(!files(&cache).is_empty());
    assert!(!holds(&cache, VALUE), "an artifact or a snapshot");
    assert!(!holds(&state, VALUE), "the directory of state");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_reads_no_secret_and_a_snapshot_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let (state, cache) = (dir.path().join("state"), dir.path().join("cache"));
    set(&state, "local", "shop", "KEY", VALUE);
    let manifest = |by: &str| {
        format!(
            "app = \"shop\"\n[functions.api]\ncomponent = {:?}\nroutes = [\"/\"]\n\
             env = {{ BY = {by:?} }}\ngrants.secrets = [\"KEY\"]\n",
            guest("secret-init")
        )
    };
    let tenants = Tenants::hostile("").await;
    for (by, sentence) in [
        ("sdk", "the memory that an init leaves is kept on the disk, and a secret would be in it"),
        ("wasi", "an init reads variables from the environment, and no secrets"),
    ] {
        let refused = tenants.deploy_manifest(&manifest(by)).await.unwrap_err();
        assert!(refused.contains(sentence), "{refused}");
        tenants.neighbour_is_served().await;
    }
    let served = Served::manifest_with(&manifest("nothing"), |settings| {
        settings.state_dir = Some(state.clone());
        settings.cache_dir.clone_from(&cache);
    })
    .await;
    assert_eq!(text(&served, "/").await, VALUE);
    // No program has this text in it.
    let changed = "a-value-that-came-later-7f3a";
    set(&state, "local", "shop", "KEY", changed);
    assert_eq!(text(&served, "/").await, changed);
    served.assert_idle().await;
    // The snapshot, and its artifact.
    let kept = files(&cache);
    let is_kept = |file: &&PathBuf| file.extension().is_some_and(|end| end == "cwasm");
    assert_eq!(kept.iter().filter(is_kept).count(), 2, "{kept:?}");
    assert!(!holds(&cache, VALUE), "the first value");
    assert!(!holds(&cache, changed), "the changed value");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interfaces_of_others_read_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = format!(
        r#"app = "shop"
[functions.all]
component = {:?}
routes = ["/{{dialect}}/{{store}}"]
env = {{ region = "eu" }}
grants.secrets = ["API_KEY", "UNSET"]
[functions.spin]
component = {:?}
routes = [{{ path = "/{{*rest}}", host = "spin.test" }}]
env = {{ region = "eu" }}
grants.secrets = ["API_KEY", "UNSET"]
"#,
        guest("keyvalue"),
        guest("spin-3")
    );
    set(dir.path(), "local", "shop", "API_KEY", VALUE);
    let served = served(&manifest, dir.path()).await;
    let not_set = "the secret `UNSET` is not set: the operator sets it with `lacewing secret set`";
    // A listing has variables only.
    let all = r#"Ok([("region", "eu")])"#;
    for (name, of_wasi, of_spin) in [
        ("api_key", format!("Ok(Some({VALUE:?}))"), format!("Ok({VALUE:?})")),
        (
            "unset",
            format!("Err(Error::Upstream({not_set:?}))"),
            format!("Err(Error::Undefined({not_set:?}))"),
        ),
        (
            "none",
            "Ok(None)".to_owned(),
            "Err(Error::Undefined(\"the manifest has no variable `none` in `env`, and grants no such secret\"))".to_owned(),
        ),
    ] {
        let said = text(&served, &format!("/config/{name}")).await;
        assert_eq!(said, format!("{of_wasi} {of_wasi} {all} {of_spin}"), "{name}");
        let mut headers = http::HeaderMap::new();
        headers.insert("host", "spin.test".parse().unwrap());
        let path = format!("/variable/{name}");
        let reply = served.send(http::Method::GET, &path, headers, bytes::Bytes::new()).await;
        assert_eq!((reply.status, reply.text()), (200, of_spin.as_str()), "{name}");
    }
    served.assert_idle().await;
}

/// Runs a command in an app's directory, with a value on standard input.
fn command(dir: &Path, args: &[&str], input: &str) -> Output {
    let mut command = lacewing();
    command.args(args).current_dir(dir).env_remove("LACEWING_STATE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|text| String::from_utf8_lossy(text)).concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_works_beside_a_running_host() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = manifest(r#"["KEY"]"#) + "[kv.users]\n";
    let manifest =
        manifest.replace("grants.secrets", "grants.kv = { users = \"read\" }\ngrants.secrets");
    std::fs::write(dir.path().join("lacewing.toml"), &manifest).unwrap();
    // Without a host, in a directory of state that is not there yet.
    let output = command(dir.path(), &["secret", "list"], "");
    assert_eq!(said(&output), "KEY  not set  granted to api\n");
    let check = |dir: &Path| said(&command(dir, &["check", "--cache-dir", "cache"], ""));
    assert!(check(dir.path()).contains("the secret `KEY` of app `local/shop` is not set"));
    let output = command(dir.path(), &["secret", "set", "KEY"], &format!("{VALUE}\n"));
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
    assert!(!check(dir.path()).contains("is not set"));

    let state = dir.path().join(".lacewing/state");
    let served = served(&manifest, &state).await;
    assert_eq!(text(&served, "/read/KEY").await, VALUE, "the line feed is no part of the value");
    assert!(state.join("lacewing.state").is_file());
    let in_use = EmbeddedStore::open(&state, EmbeddedOptions::default()).unwrap_err();
    assert!(in_use.to_string().contains("is in use by another process"), "{in_use}");
    std::fs::write(dir.path().join("key"), "from a file\r\n").unwrap();
    let output = command(dir.path(), &["secret", "set", "KEY", "--file", "key"], "");
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
    assert_eq!(text(&served, "/read/KEY").await, "from a file");

    let output = command(dir.path(), &["secret", "set", "SPARE"], "1");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        said(&output),
        "warning: no function of app `shop` is granted `SPARE`: add it to `grants.secrets` of a function\n"
    );
    let listed = said(&command(dir.path(), &["secret", "list"], ""));
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with("KEY  set 20") && lines[0].ends_with("  granted to api"),
        "{listed}"
    );
    assert!(lines[1].starts_with("SPARE  set 20"), "{listed}");
    assert!(lines[1].ends_with("  granted to no function"), "{listed}");
    assert!(!listed.contains("from a file"));

    assert_eq!(command(dir.path(), &["secret", "remove", "KEY"], "").status.code(), Some(0));
    assert_eq!(served.get("/read/KEY").await.status, 503);
    served.assert_idle().await;
}

#[test]
fn a_key_that_is_lost_is_told_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lacewing.toml"), manifest(r#"["KEY"]"#)).unwrap();
    let run = |args: &[&str]| {
        let output = command(dir.path(), args, VALUE);
        (output.status.code(), said(&output))
    };
    assert_eq!(run(&["secret", "set", "KEY"]), (Some(0), String::new()));
    let (_, made) = run(&["s3", "create-key"]);
    let id = made.split_whitespace().nth(2).unwrap();
    let state = dir.path().join(".lacewing/state");
    let (key, check) = (state.join("secrets.key"), ["state", "check"]);
    assert_eq!(run(&check), (Some(0), String::new()));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let up = Up::start(&[dir.path().to_str().unwrap()]);
    up.line(", secret KEY");
    let open = up.line("warning: sealed secrets do not open: the key file ");
    assert!(open.contains(" is open to others (mode 0644): run `chmod 600 "), "{open}");
    drop(up);
    std::fs::remove_file(&key).unwrap();

    let lost = " is missing, and secrets or S3 access keys were sealed with it: put the file back; or remove all of them with `lacewing secret remove` and `lacewing s3 remove-key`, and make them again\n";
    let is_told = |args: &[&str], code: i32, begin: &str| {
        let (found, said) = run(args);
        assert_eq!(found, Some(code), "{args:?}: {said}");
        assert!(said.contains(begin) && said.contains(lost), "{args:?}: {said}");
    };
    is_told(&["secret", "set", "OTHER"], 1, "error: the key file ");
    is_told(&["s3", "create-key"], 1, "error: the key file ");
    is_told(&check, 1, "error: tenant `local`: the key file ");
    is_told(&["check", "--cache-dir", "cache"], 0, "warning: sealed secrets do not open: the key");
    is_told(&["s3", "list-keys"], 0, &format!("{id}  does not open\nwarning: the key file "));
    assert_eq!(run(&["secret", "remove", "KEY"]), (Some(0), String::new()));
    is_told(&["secret", "set", "KEY"], 1, "error: the key file ");
    assert_eq!(run(&["s3", "remove-key", id]), (Some(0), String::new()));
    assert_eq!(run(&["secret", "set", "KEY"]), (Some(0), String::new()));
    assert_eq!(run(&check), (Some(0), String::new()));
    let host = "[tenants.acme]\nhosts = [\"*\"]\ncomponent_dirs = [\"/\"]\napps = [\".\"]\n";
    std::fs::write(dir.path().join("host.toml"), host).unwrap();
    let (code, said) = run(&["secret", "list", "--host", "host.toml", "--tenant", "acme"]);
    assert_eq!(
        (code, &*said),
        (Some(2), "error: name an app of tenant `acme` with `--app`: shop\n")
    );
}

#[test]
fn the_command_refuses_what_is_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lacewing.toml"), manifest(r#"["KEY"]"#)).unwrap();
    for (args, input, code, sentence) in [
        (&["set", "key"][..], "1", 2, "\"key\" is no name of a secret"),
        (&["set", "KEY", VALUE], "", 2, "unexpected argument"),
        (&["set", "KEY"], "", 1, "the value is empty"),
        (&["set", "KEY"], "\n", 1, "the value is empty"),
        (&["set", "KEY", "--file", "none"], "", 1, "cannot read none: No such file"),
        (&["remove", "KEY"], "", 1, "app `shop` has no secret `KEY`"),
        (&["set", "KEY", "--app", "none"], "1", 4, "there is no such file"),
    ] {
        let output = command(dir.path(), &[&["secret"], args].concat(), input);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(sentence), "{args:?}: {}", said(&output));
    }
    let large = "x".repeat((64 << 10) + 1);
    let output = command(dir.path(), &["secret", "set", "KEY"], &large);
    assert!(said(&output).contains("the value has over 64 KiB"), "{}", said(&output));
    let output = command(dir.path(), &["secret", "set", "KEY"], &large[1..]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    std::fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
    let output = command(dir.path(), &["secret", "set", "KEY", "--file", "binary"], "");
    assert!(
        said(&output).contains("the value is not UTF-8: encode other bytes"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_hosts_environment_gives_secrets_to_a_single_app() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lacewing.toml"), manifest(r#"["KEY"]"#)).unwrap();
    set(&dir.path().join(".lacewing/state"), "local", "shop", "KEY", "stored");
    let invoked = |value: Option<&str>| {
        let mut command = lacewing();
        command.args(["invoke", ".", "--path", "/read/KEY", "--cache-dir", "cache"]);
        command.current_dir(dir.path()).env_remove("LACEWING_STATE");
        if let Some(value) = value {
            command.env("LACEWING_SECRET_KEY", value);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(invoked(None).trim_end(), "stored");
    assert_eq!(invoked(Some("given")).trim_end(), "given");
    // An empty variable is unset.
    assert_eq!(invoked(Some("")).trim_end(), "stored");
}

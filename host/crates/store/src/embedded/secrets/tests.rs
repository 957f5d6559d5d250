//! Secrets in a real directory: what opens them, and what does not.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::embedded::{EmbeddedOptions, EmbeddedStore, Stopper};

const VALUE: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";

fn name<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn app(dir: &Path, tenant: &str, app: &str) -> SecretFolder {
    Arc::new(SecretStore::at(dir)).app(&name(tenant), &name(app))
}

fn secret(value: &str) -> Secret {
    Secret::new(value.to_owned()).unwrap()
}

fn value(secrets: &SecretFolder, key: &str) -> Option<String> {
    secrets.get(&name(key)).unwrap().map(|secret| secret.expose().to_owned())
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn a_secret_is_of_its_tenant_and_app() {
    let dir = tempfile::tempdir().unwrap();
    let shop = app(dir.path(), "acme", "shop");
    assert_eq!(value(&shop, "KEY"), None, "nothing is made by reading");
    assert!(files(dir.path()).is_empty());
    shop.set(&name("KEY"), &secret(VALUE)).unwrap();
    shop.set(&name("OTHER"), &secret("2")).unwrap();
    assert_eq!(value(&shop, "KEY").as_deref(), Some(VALUE));
    // Another process reads the same directory.
    assert_eq!(value(&app(dir.path(), "acme", "shop"), "KEY").as_deref(), Some(VALUE));
    assert_eq!(value(&app(dir.path(), "acme", "blog"), "KEY"), None);
    assert_eq!(value(&app(dir.path(), "other", "shop"), "KEY"), None);
    shop.set(&name("KEY"), &secret("new")).unwrap();
    assert_eq!(value(&shop, "KEY").as_deref(), Some("new"));
    let listed: Vec<String> =
        shop.list().unwrap().iter().map(|secret| secret.name.to_string()).collect();
    assert_eq!(listed, ["KEY", "OTHER"]);
    assert!(shop.remove(&name("KEY")).unwrap());
    assert!(!shop.remove(&name("KEY")).unwrap());
    assert_eq!(value(&shop, "KEY"), None);
}

#[test]
fn a_file_in_another_place_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let shop = app(dir.path(), "acme", "shop");
    shop.set(&name("KEY"), &secret(VALUE)).unwrap();
    let sealed = dir.path().join("acme/secrets/shop/KEY");
    for (tenant, of_app, key) in
        [("acme", "shop", "OTHER"), ("acme", "blog", "KEY"), ("other", "shop", "KEY")]
    {
        let folder = dir.path().join(tenant).join("secrets").join(of_app);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(&sealed, folder.join(key)).unwrap();
        let error = app(dir.path(), tenant, of_app).get(&name(key)).unwrap_err();
        assert!(matches!(error, SecretError::Sealed { .. }), "{tenant}/{of_app}/{key}: {error}");
    }
    // A link leads nowhere.
    std::os::unix::fs::symlink(&sealed, dir.path().join("acme/secrets/shop/LINK")).unwrap();
    assert!(shop.get(&name("LINK")).is_err());
}

#[test]
fn a_damaged_file_does_not_open_and_is_set_again() {
    let dir = tempfile::tempdir().unwrap();
    let shop = app(dir.path(), "acme", "shop");
    shop.set(&name("KEY"), &secret(VALUE)).unwrap();
    let path = dir.path().join("acme/secrets/shop/KEY");
    let sealed = fs::read(&path).unwrap();
    for length in 0..sealed.len() {
        fs::write(&path, &sealed[..length]).unwrap();
        assert!(shop.get(&name("KEY")).is_err(), "{length} bytes");
    }
    for at in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(shop.get(&name("KEY")).is_err(), "byte {at}");
    }
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    assert!(shop.get(&name("KEY")).is_err());
    shop.set(&name("KEY"), &secret(VALUE)).unwrap();
    assert_eq!(value(&shop, "KEY").as_deref(), Some(VALUE));
}

#[test]
fn the_key_is_the_hosts_alone_and_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    app(dir, "acme", "shop").set(&name("KEY"), &secret(VALUE)).unwrap();
    let path = dir.join("secrets.key");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&dir.join("acme")), 0o700);
    assert_eq!(mode(&dir.join("acme/secrets/shop/KEY")), 0o600);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = app(dir, "acme", "shop").get(&name("KEY")).unwrap_err().to_string();
    let path_text = path.display();
    assert_eq!(
        error,
        format!(
            "the key file {path_text} is open to others (mode 0640): run `chmod 600 {path_text}`"
        )
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

    // Without the key nothing opens, and no other key takes its place.
    let kept = dir.join("kept");
    fs::rename(&path, &kept).unwrap();
    for error in [
        app(dir, "acme", "shop").get(&name("KEY")).unwrap_err(),
        app(dir, "other", "blog").set(&name("KEY"), &secret("1")).unwrap_err(),
    ] {
        assert!(matches!(error, SecretError::NoKey { .. }), "{error}");
    }
    // Another key is noticed by a store that has read the first one.
    fs::rename(&kept, &path).unwrap();
    let shop = app(dir, "acme", "shop");
    assert_eq!(value(&shop, "KEY").as_deref(), Some(VALUE));
    let first = fs::read(&path).unwrap();
    fs::write(&path, format!("{}\n", "ab".repeat(32))).unwrap();
    app(dir, "acme", "shop").set(&name("KEY"), &secret("under another key")).unwrap();
    assert_eq!(value(&shop, "KEY").as_deref(), Some("under another key"));
    fs::write(&path, first).unwrap();
    let error = app(dir, "acme", "shop").get(&name("KEY")).unwrap_err();
    assert!(matches!(error, SecretError::Sealed { .. }), "{error}");
    fs::write(&path, "no key").unwrap();
    let error = app(dir, "acme", "shop").get(&name("KEY")).unwrap_err();
    assert!(matches!(error, SecretError::KeyMalformed { .. }), "{error}");
}

#[test]
fn a_secret_is_set_while_a_host_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    // The command comes first: the host takes the directory for one of state.
    app(&state, "acme", "shop").set(&name("KEY"), &secret(VALUE)).unwrap();
    let host = EmbeddedStore::open(&state, EmbeddedOptions::default()).unwrap();
    app(&state, "acme", "shop").set(&name("KEY"), &secret("new")).unwrap();
    assert_eq!(value(&app(&state, "acme", "shop"), "KEY").as_deref(), Some("new"));
    drop(host);
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("letter.txt"), "dear").unwrap();
    let error = app(&other, "acme", "shop").set(&name("KEY"), &secret("1")).unwrap_err();
    assert!(error.to_string().contains("is not empty, and no state directory"), "{error}");
}

#[test]
fn a_backup_has_sealed_secrets_and_no_key() {
    let dir = tempfile::tempdir().unwrap();
    let (state, backup) = (dir.path().join("state"), dir.path().join("backup"));
    app(&state, "acme", "shop").set(&name("KEY"), &secret(VALUE)).unwrap();
    let host = EmbeddedStore::open(&state, EmbeddedOptions::default()).unwrap();
    let tenants = host.tenants().unwrap();
    assert_eq!(tenants, [name::<TenantName>("acme")]);
    assert!(host.inspect(&tenants[0], &Stopper::default()).unwrap().faults.is_empty());
    host.back_up(&tenants, &backup, &Stopper::default()).unwrap();
    let copied = files(&backup);
    let mut names: Vec<&Path> =
        copied.iter().map(|file| file.strip_prefix(&backup).unwrap()).collect();
    names.sort();
    assert_eq!(names, [Path::new("acme/secrets/shop/KEY"), Path::new("lacewing.state")]);
    let key = fs::read(state.join("secrets.key")).unwrap();
    for file in copied {
        let bytes = fs::read(file).unwrap();
        for clear in [VALUE.as_bytes(), key.trim_ascii()] {
            assert!(!bytes.windows(clear.len()).any(|window| window == clear));
        }
    }
    // With the key, which is kept elsewhere, the backup is whole.
    assert!(app(&backup, "acme", "shop").get(&name("KEY")).is_err());
    fs::write(backup.join("secrets.key"), key).unwrap();
    fs::set_permissions(backup.join("secrets.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(value(&app(&backup, "acme", "shop"), "KEY").as_deref(), Some(VALUE));
}

#[test]
fn bounds_of_secrets() {
    let error = |value: String| Secret::new(value).unwrap_err().to_string();
    assert_eq!(error(String::new()), "the value is empty");
    assert_eq!(
        error("x".repeat(MAX_SECRET_BYTES + 1)),
        "the value has over 64 KiB, the most that a secret may have"
    );
    let dir = tempfile::tempdir().unwrap();
    let shop = app(dir.path(), "acme", "shop");
    let largest = "x".repeat(MAX_SECRET_BYTES);
    shop.set(&name("LARGE"), &secret(&largest)).unwrap();
    assert_eq!(value(&shop, "LARGE"), Some(largest));
    for number in 1..MAX_APP_SECRETS {
        shop.set(&name(&format!("KEY_{number}")), &secret("1")).unwrap();
    }
    let one_more = shop.set(&name("ONE_MORE"), &secret("1")).unwrap_err();
    assert_eq!(
        one_more.to_string(),
        "the app has 64 secrets, the most that it may have: remove one first"
    );
    // One that is there is changed, and another app has room.
    shop.set(&name("KEY_1"), &secret("2")).unwrap();
    app(dir.path(), "acme", "blog").set(&name("KEY"), &secret("1")).unwrap();
}

#[test]
fn no_representation_shows_a_value() {
    let dir = tempfile::tempdir().unwrap();
    let shop = app(dir.path(), "acme", "shop");
    shop.set(&name("KEY"), &secret(VALUE)).unwrap();
    let read = shop.get(&name("KEY")).unwrap();
    assert_eq!(format!("{read:?}"), "Some(Secret(..))");
    let text = format!("{shop:?} {:?}", shop.list());
    let key = fs::read_to_string(dir.path().join("secrets.key")).unwrap();
    assert!(!text.contains(VALUE) && !text.contains(key.trim()), "{text}");
    let sealed = fs::read(dir.path().join("acme/secrets/shop/KEY")).unwrap();
    assert!(!sealed.windows(VALUE.len()).any(|window| window == VALUE.as_bytes()));
}

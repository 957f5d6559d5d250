//! Objects of buckets, in the database and in files.

use std::{collections::BTreeSet, path::PathBuf};

use bytes::Bytes;
use lacewing_base::Bucket;

use super::*;
use crate::object::{Attributes, ByteRange, MAX_INLINE_BYTES, Object, ObjectWriter, StagedBody};

const LARGE: usize = MAX_INLINE_BYTES * 3 + 7;

fn body(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect()
}

async fn stage(tenant: &Arc<dyn TenantState>, body: &[u8]) -> Result<StagedBody, KvError> {
    let mut writer = ObjectWriter::new(tenant.clone(), u64::MAX);
    for chunk in body.chunks(50_000) {
        writer.write(Bytes::copy_from_slice(chunk)).await?;
    }
    writer.finish().await
}

fn set(transaction: &mut Transaction, bucket: &Bucket, key: &str, staged: StagedBody) {
    let put = transaction.put_object(bucket, key, staged, Attributes::default(), Condition::Any);
    assert!(put.unwrap().is_some());
}

fn put_object(tenant: &Arc<dyn TenantState>, bucket: &Bucket, key: &str, body: &[u8]) {
    let mut transaction = begin(tenant);
    set(&mut transaction, bucket, key, block_on(stage(tenant, body)).unwrap());
    commit(transaction).unwrap();
}

fn read_range(
    transaction: &mut Transaction,
    bucket: &Bucket,
    key: &str,
    range: ByteRange,
) -> Option<(Object, Result<Vec<u8>, StoreError>)> {
    let (object, _) = transaction.object(bucket, key).unwrap()?;
    let mut reader = transaction.read_object(bucket, key, &object, range).unwrap();
    let read = block_on(async {
        let mut body = Vec::new();
        loop {
            match reader.next(100_000).await? {
                bytes if bytes.is_empty() => return Ok(body),
                bytes => body.extend(bytes),
            }
        }
    });
    Some((object, read))
}

fn read(tenant: &Arc<dyn TenantState>, bucket: &Bucket, key: &str) -> Option<Vec<u8>> {
    let read = read_range(&mut begin(tenant), bucket, key, ByteRange::From(0));
    read.map(|(_, body)| body.unwrap())
}

fn files(dir: &TempDir, folder: &str) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(dir.path().join("acme").join(folder)).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the condition does not come true");
        thread::yield_now();
    }
}

#[test]
fn objects_are_there_after_the_store_was_opened_again() {
    let (dir, store, tenant) = acme();
    let bucket = Bucket::new("shop.uploads");
    let sizes = [0, 1, MAX_INLINE_BYTES, MAX_INLINE_BYTES + 1, LARGE];
    for size in sizes {
        put_object(&tenant, &bucket, &format!("o{size}"), &body(size, 1));
    }
    drop((store, tenant));
    let tenant = open(&dir).tenant(&name("acme"), NO_BOUND);
    for size in sizes {
        let key = format!("o{size}");
        assert_eq!(read(&tenant, &bucket, &key), Some(body(size, 1)), "{size}");
        let (object, _) = begin(&tenant).object(&bucket, &key).unwrap().unwrap();
        assert_eq!(object.bytes, size as u64);
    }
    assert_eq!(files(&dir, "objects").len(), 2);
    assert_eq!(files(&dir, "incoming").len(), 0);
    assert_eq!(read(&tenant, &bucket, "other"), None);
    assert_eq!(read(&tenant, &Bucket::new("shop.other"), "o1"), None);
}

#[test]
fn a_part_of_an_object_is_read() {
    let (_dir, _store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    for size in [1000, LARGE] {
        let whole = body(size, 3);
        put_object(&tenant, &bucket, "o", &whole);
        for (range, part) in [
            (ByteRange::Between(0, 0), &whole[..1]),
            (ByteRange::Between(100, 899), &whole[100..900]),
            (ByteRange::From(999), &whole[999..]),
            (ByteRange::Last(10), &whole[size - 10..]),
            (ByteRange::From(u64::MAX), &[]),
        ] {
            let read = read_range(&mut begin(&tenant), &bucket, "o", range).unwrap();
            assert_eq!(read.1.unwrap(), part, "{size} {range:?}");
        }
    }
}

#[test]
fn the_tag_of_an_object_is_its_md5() {
    let (_dir, _store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    put_object(&tenant, &bucket, "o", b"hello");
    let (object, _) = begin(&tenant).object(&bucket, "o").unwrap().unwrap();
    assert_eq!(object.etag, "5d41402abc4b2a76b9719d911017c592");
    assert!(object.modified_ms > 1_700_000_000_000);
}

#[test]
fn an_object_is_seen_after_its_commit_only() {
    let (dir, _store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    let mut transaction = begin(&tenant);
    set(&mut transaction, &bucket, "o", block_on(stage(&tenant, &body(LARGE, 1))).unwrap());
    let own = read_range(&mut transaction, &bucket, "o", ByteRange::From(0)).unwrap();
    assert_eq!(own.1.unwrap(), body(LARGE, 1));
    assert_eq!(read(&tenant, &bucket, "o"), None);
    assert_eq!(files(&dir, "incoming").len(), 1);
    commit(transaction).unwrap();
    assert_eq!(read(&tenant, &bucket, "o"), Some(body(LARGE, 1)));
    assert_eq!(files(&dir, "incoming").len(), 0);
}

#[test]
fn a_body_that_is_given_up_leaves_nothing() {
    let (dir, _store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    let mut transaction = begin(&tenant);
    set(&mut transaction, &bucket, "o", block_on(stage(&tenant, &body(LARGE, 1))).unwrap());
    drop(transaction);
    until(|| files(&dir, "incoming").is_empty());
    let mut writer = ObjectWriter::new(tenant.clone(), u64::MAX);
    block_on(writer.write(body(LARGE, 1).into())).unwrap();
    assert_eq!(files(&dir, "incoming").len(), 1);
    drop(writer);
    until(|| files(&dir, "incoming").is_empty());
    assert_eq!(read(&tenant, &bucket, "o"), None);
}

#[test]
fn an_end_between_the_file_and_the_commit_leaves_no_file() {
    let (dir, store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    put_object(&tenant, &bucket, "o", &body(LARGE, 1));
    drop((store, tenant));
    // The host ended after the commit and before the file had its place, and another file has no
    // entry.
    let [file] = Vec::from_iter(files(&dir, "objects")).try_into().unwrap();
    let incoming = dir.path().join("acme/incoming");
    fs::rename(&file, incoming.join(file.file_name().unwrap())).unwrap();
    fs::write(incoming.join("0000000000000007"), "half").unwrap();
    let tenant = open(&dir).tenant(&name("acme"), NO_BOUND);
    assert_eq!(read(&tenant, &bucket, "o"), Some(body(LARGE, 1)));
    assert_eq!(Vec::from_iter(files(&dir, "objects")), [file]);
    assert_eq!(files(&dir, "incoming").len(), 0);
}

#[test]
fn copies_share_their_file_until_the_last_one_goes() {
    let (dir, store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    for (size, files_of_it) in [(10, 0), (LARGE, 1)] {
        put_object(&tenant, &bucket, "a", &body(size, 1));
        let mut transaction = begin(&tenant);
        let copied = transaction.copy_object((&bucket, "a"), (&bucket, "b"), None).unwrap();
        assert_eq!(copied.unwrap().bytes, size as u64);
        assert!(
            transaction.copy_object((&bucket, "none"), (&bucket, "c"), None).unwrap().is_none()
        );
        commit(transaction).unwrap();
        let mut transaction = begin(&tenant);
        assert!(transaction.delete_object(&bucket, "a", Condition::Any).unwrap());
        commit(transaction).unwrap();
        assert_eq!(read(&tenant, &bucket, "b"), Some(body(size, 1)));
        assert_eq!(files(&dir, "objects").len(), files_of_it);
    }
    let mut transaction = begin(&tenant);
    assert!(transaction.delete_object(&bucket, "b", Condition::Any).unwrap());
    commit(transaction).unwrap();
    drop((store, tenant));
    let tenant = open(&dir).tenant(&name("acme"), NO_BOUND);
    assert_eq!(read(&tenant, &bucket, "b"), None);
    assert_eq!(files(&dir, "objects").len(), 0);
}

#[test]
fn a_reader_goes_on_while_its_object_is_replaced_and_the_tenant_has_no_room() {
    let (dir, store, _) = acme();
    let tenant = store.tenant(&name("acme"), 0);
    tenant.set_max_bytes(3 * LARGE as u64 + 1000);
    let bucket = Bucket::new("uploads");
    put_object(&tenant, &bucket, "o", &body(LARGE, 1));
    let mut transaction = begin(&tenant);
    let (object, _) = transaction.object(&bucket, "o").unwrap().unwrap();
    let mut reader = transaction.read_object(&bucket, "o", &object, ByteRange::From(0)).unwrap();
    let first = block_on(reader.next(10)).unwrap();
    // The file of each replaced object takes room until it is removed.
    let mut refused = 0;
    for seed in 2..8 {
        let mut writer = begin(&tenant);
        match block_on(stage(&tenant, &body(LARGE, seed))) {
            Ok(staged) => {
                set(&mut writer, &bucket, "o", staged);
                commit(writer).unwrap();
            }
            Err(error) => {
                assert!(matches!(error, KvError::OverQuota { .. }), "{error}");
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 0, "files that nothing reads make room");
    let mut rest = first.to_vec();
    while let Ok(bytes) = block_on(reader.next(usize::MAX))
        && !bytes.is_empty()
    {
        rest.extend(bytes);
    }
    assert_eq!(rest, body(LARGE, 1));
    assert_eq!(read(&tenant, &bucket, "o"), Some(body(LARGE, 7)));
    assert!(files(&dir, "objects").len() <= 3);
}

#[test]
fn bytes_that_are_not_committed_are_within_the_bound_of_the_tenant() {
    let (dir, store, _) = acme();
    let tenant = store.tenant(&name("umbra"), 2 * LARGE as u64);
    let staged = block_on(stage(&tenant, &body(LARGE, 1))).unwrap();
    let error = block_on(stage(&tenant, &body(LARGE + 1, 1))).unwrap_err();
    assert!(error.to_string().starts_with("the state of the tenant would have 3932"), "{error}");
    drop(staged);
    block_on(stage(&tenant, &body(LARGE, 1))).unwrap();
    let bucket = Bucket::new("uploads").with_max_bytes(LARGE as u64);
    let mut transaction = begin(&tenant);
    set(&mut transaction, &bucket, "o", block_on(stage(&tenant, &body(LARGE, 1))).unwrap());
    let error = commit(transaction).unwrap_err().to_string();
    assert!(error.starts_with("the bucket `uploads` would have 19"), "{error}");
    until(|| files(&dir, "../umbra/incoming").is_empty());
    assert_eq!(read(&tenant, &bucket, "o"), None);
}

#[test]
fn an_object_that_is_read_and_changed_meanwhile_is_a_conflict() {
    let (_dir, _store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    put_object(&tenant, &bucket, "a", &body(LARGE, 1));
    let (mut copies, mut lists) = (begin(&tenant), begin(&tenant));
    copies.copy_object((&bucket, "a"), (&bucket, "b"), None).unwrap().unwrap();
    let page = lists.list_objects(&bucket, "", None, None, 10).unwrap();
    assert_eq!(page.objects.len(), 1);
    set(&mut lists, &bucket, "count", block_on(stage(&tenant, b"1")).unwrap());
    put_object(&tenant, &bucket, "a", &body(LARGE, 2));
    assert!(conflicts(copies));
    // The list of keys is the same, and the object another one.
    assert!(conflicts(lists));
}

#[test]
fn objects_are_listed_up_to_a_delimiter() {
    let (_dir, _store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    let mut transaction = begin(&tenant);
    let keys = ["a", "b/1", "b/2", "b/c/3", "b0", "c/", "d/x", "é/y"];
    for key in &keys[..6] {
        set(&mut transaction, &bucket, key, block_on(stage(&tenant, b"")).unwrap());
    }
    commit(transaction).unwrap();
    let mut transaction = begin(&tenant);
    for key in &keys[6..] {
        set(&mut transaction, &bucket, key, block_on(stage(&tenant, b"")).unwrap());
    }
    let mut list = |prefix: &str, delimiter, after: Option<&str>, limit| {
        let page = transaction.list_objects(&bucket, prefix, delimiter, after, limit).unwrap();
        let objects = page.objects.into_iter().map(|listed| listed.key);
        let mut keys: Vec<String> = objects.chain(page.prefixes).collect();
        keys.sort();
        (keys, page.next)
    };
    assert_eq!(list("", None, None, 1000), (keys.map(str::to_owned).to_vec(), None));
    let top = ["a", "b/", "b0", "c/", "d/", "é/"].map(str::to_owned);
    assert_eq!(list("", Some("/"), None, 1000), (top.to_vec(), None));
    let below = ["b/1", "b/2", "b/c/"].map(str::to_owned);
    assert_eq!(list("b/", Some("/"), None, 1000), (below.to_vec(), None));
    // Page by page it is the same.
    let (mut paged, mut after) = (Vec::new(), None::<String>);
    loop {
        let (keys, next) = list("", Some("/"), after.as_deref(), 1);
        assert_eq!(keys.len(), 1);
        paged.extend(keys);
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(paged, top);
}

#[test]
fn a_file_that_was_changed_is_an_error_and_not_another_body() {
    let (dir, store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    put_object(&tenant, &bucket, "o", &body(LARGE, 1));
    put_object(&tenant, &bucket, "small", b"small");
    let [file] = Vec::from_iter(files(&dir, "objects")).try_into().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[MAX_INLINE_BYTES + 5] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let damaged = |range| read_range(&mut begin(&tenant), &bucket, "o", range).unwrap().1;
    let first = ByteRange::Between(0, 99);
    assert_eq!(damaged(first), Ok(body(100, 1)), "a block that is whole is read");
    for range in [ByteRange::From(0), ByteRange::Last(LARGE as u64 - 70_000)] {
        assert!(matches!(damaged(range), Err(StoreError::Damaged(_))), "{range:?}");
    }
    fs::remove_file(&file).unwrap();
    assert!(damaged(first).is_err());
    assert_eq!(read(&tenant, &bucket, "small").as_deref(), Some(&b"small"[..]));
    drop(tenant);
    let faults = store.inspect(&name("acme"), &Stopper::default()).unwrap().faults;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains(file.file_name().unwrap().to_str().unwrap()), "{faults:?}");
}

#[test]
fn a_backup_has_the_objects() {
    let (_dir, store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    put_object(&tenant, &bucket, "large", &body(LARGE, 1));
    put_object(&tenant, &bucket, "small", b"small");
    drop(tenant);
    let copies = TempDir::new().unwrap();
    let to = copies.path().join("backup");
    store.back_up(&[name("acme")], &to, &Stopper::default()).unwrap();
    let copy = EmbeddedStore::open(&to, EmbeddedOptions::default()).unwrap();
    assert_eq!(copy.inspect(&name("acme"), &Stopper::default()).unwrap().faults, [""; 0]);
    let tenant = copy.tenant(&name("acme"), NO_BOUND);
    assert_eq!(read(&tenant, &bucket, "large"), Some(body(LARGE, 1)));
    assert_eq!(read(&tenant, &bucket, "small").as_deref(), Some(&b"small"[..]));
}

/// An upload that is under way when a check and a backup come goes on.
#[tokio::test]
async fn a_check_and_a_backup_leave_alone_what_is_under_way() {
    let (dir, store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    let mut writer = ObjectWriter::new(tenant.clone(), u64::MAX);
    let large = body(LARGE, 1);
    writer.write(Bytes::copy_from_slice(&large[..LARGE - 1])).await.unwrap();
    assert_eq!(files(&dir, "incoming").len(), 1);
    let copies = TempDir::new().unwrap();
    store.back_up(&[name("acme")], copies.path(), &Stopper::default()).unwrap();
    let faults = store.inspect(&name("acme"), &Stopper::default()).unwrap().faults;
    assert_eq!(faults, [""; 0]);
    writer.write(Bytes::copy_from_slice(&large[LARGE - 1..])).await.unwrap();
    let staged = writer.finish().await.unwrap();
    let mut transaction = begin(&tenant);
    set(&mut transaction, &bucket, "o", staged);
    let (state, changes) = transaction.into_changes().unwrap();
    state.commit(changes).await.unwrap();
    let read = tokio::task::spawn_blocking(move || read(&tenant, &bucket, "o"));
    assert_eq!(read.await.unwrap(), Some(large));
}

#[test]
fn parts_are_joined_without_a_copy() {
    let (dir, _store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    let parts = Bucket::new("parts");
    let mut transaction = begin(&tenant);
    let sizes = [LARGE, 5, 0, 70_000];
    for (number, size) in sizes.iter().enumerate() {
        let staged = block_on(async {
            let mut writer = ObjectWriter::in_file(tenant.clone(), u64::MAX);
            writer.write(body(*size, u8::try_from(number).unwrap()).into()).await.unwrap();
            writer.finish().await.unwrap()
        });
        set(&mut transaction, &parts, &number.to_string(), staged);
    }
    commit(transaction).unwrap();
    let mut transaction = begin(&tenant);
    let names = ["0", "1", "2", "3"].map(|part| (&parts, part));
    let attributes = Attributes::default();
    let joined = transaction.join_objects(&names, (&bucket, "whole"), "e-4".into(), attributes);
    assert_eq!(joined.unwrap().unwrap().bytes, sizes.iter().sum::<usize>() as u64);
    for (_, part) in names {
        assert!(transaction.delete_object(&parts, part, Condition::Any).unwrap());
    }
    commit(transaction).unwrap();
    let whole: Vec<u8> = sizes
        .iter()
        .enumerate()
        .flat_map(|(number, size)| body(*size, u8::try_from(number).unwrap()))
        .collect();
    assert_eq!(read(&tenant, &bucket, "whole").as_deref(), Some(&whole[..]));
    let middle = ByteRange::Between(LARGE as u64 - 3, LARGE as u64 + 8);
    let part = read_range(&mut begin(&tenant), &bucket, "whole", middle).unwrap().1.unwrap();
    assert_eq!(part, whole[LARGE - 3..LARGE + 9]);
    assert_eq!(files(&dir, "objects").len(), 3);
}

#[test]
fn a_bucket_that_is_empty_leaves_no_trace() {
    let (_dir, store, tenant) = acme();
    for number in 0..20 {
        let bucket = Bucket::new(&format!("b{number}"));
        put_object(&tenant, &bucket, "o", b"1");
        let mut transaction = begin(&tenant);
        assert!(transaction.delete_object(&bucket, "o", Condition::Any).unwrap());
        commit(transaction).unwrap();
    }
    put_object(&tenant, &Bucket::new("b0"), "o", b"again");
    assert_eq!(read(&tenant, &Bucket::new("b0"), "o").as_deref(), Some(&b"again"[..]));
    drop(tenant);
    let found = store.inspect(&name("acme"), &Stopper::default()).unwrap();
    let used: Vec<&str> = found.stores.iter().map(|used| used.id.as_str()).collect();
    assert_eq!((used, found.faults), (vec!["bucket:b0"], Vec::<String>::new()));
}

#[test]
fn a_body_that_waits_for_its_commit_keeps_its_tenant() {
    let (_dir, store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    let large = body(LARGE, 1);
    let staged = block_on(stage(&tenant, &large)).unwrap();
    drop(tenant);
    // Another handle to the tenant must not open its files anew, and remove that of the body.
    let tenant = store.tenant(&name("acme"), u64::MAX);
    assert_eq!(read(&tenant, &bucket, "o"), None);
    let mut transaction = begin(&tenant);
    set(&mut transaction, &bucket, "o", staged);
    commit(transaction).unwrap();
    assert_eq!(read(&tenant, &bucket, "o"), Some(large));
}

#[test]
fn room_in_a_batch_is_not_made_of_files_that_the_batch_left() {
    let (dir, store, tenant) = acme();
    let bucket = Bucket::new("uploads");
    put_object(&tenant, &bucket, "o", &body(LARGE, 1));
    let mut deletes = begin(&tenant);
    assert!(deletes.delete_object(&bucket, "o", Condition::Any).unwrap());
    let mut puts = begin(&tenant);
    set(&mut puts, &bucket, "p", block_on(stage(&tenant, &body(LARGE, 2))).unwrap());
    let changes = [deletes, puts].map(|one| one.into_changes().unwrap().1);
    let [deletes, puts] = changes;
    // Both in one batch, of which the second has no room.
    let database = store.embedded_tenant(&name("acme"), NO_BOUND).database().unwrap();
    let batch = [(deletes, NO_BOUND), (puts, 1)];
    let answers = database.writer.lock().commit(&batch, &database.files, (database.clock)());
    assert!(answers[0].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(CommitError::OverQuota { .. })), "{answers:?}");
    assert_eq!(files(&dir, "objects").len(), 1);
}

//! One tenant's secrets, hunted for by another across the slots that both have had.

use std::{path::Path, sync::Arc};

use http::{HeaderMap, Method};

use super::Target;
use crate::{
    client,
    components::{Core, write_component},
    harness::guest,
    tenants::{NEIGHBOUR, SUSPECT, Tenants},
};

/// Invocations of each tenant, in each of the settings.
const INVOCATIONS: usize = 1200;

/// At once, of each tenant.
const AT_ONCE: usize = 8;

/// The first size of both, in pages; they grow it by 40.
#[derive(Clone, Copy)]
struct Memory {
    pages: &'static str,
}

/// Whether they have the secret in tables too. A snapshot holds none that changes.
#[derive(Clone, Copy, PartialEq)]
enum Tables {
    Planted,
    Left,
}

impl Tables {
    fn code(self, code: &'static str) -> &'static str {
        if self == Tables::Planted { code } else { "" }
    }
}

/// A slot of these is written over.
const SMALL: Memory = Memory { pages: "4" };

/// A slot of these is mostly given back.
const LARGE: Memory = Memory { pages: "40" };

impl Memory {
    /// Code that works on the memory up to where it says END, and on tables where it says TABLES.
    fn until(self, code: &str, tables: &str) -> &'static str {
        let end = (self.pages.parse::<u32>().unwrap() + 40) * 65536;
        let code = code.replace("END", &end.to_string()).replace("TABLES", tables);
        Box::leak(code.into_boxed_str())
    }
}

/// The parts of both: a memory that grows over the part of a slot that stays resident, two tables
/// and globals.
const SHAPE: &str = "
    (table $small 10 funcref)
    (table $large 6000 funcref)
    (global $secret (mut i64) (i64.const 0))
    (func $f)
    (elem declare func $f)";

/// Leaves a secret wherever it can: in all of its memory, its tables, globals, and the stack under
/// it.
fn planter(memory: Memory, tables: Tables) -> Core {
    Core {
        memory: memory.pages,
        fields: format!(
            "{SHAPE}
            (func $deep (param i64 i32) (result i64)
                (if (result i64) (local.get 1)
                    (then (i64.add (local.get 0) (call $deep (local.get 0) (i32.sub (local.get 1) (i32.const 1)))))
                    (else (local.get 0))))"
        ),
        handle: memory.until(
            "(drop (memory.grow (i32.const 40)))
            (memory.fill (i32.const 65536) (i32.const 0x5e) (i32.sub (i32.const END) (i32.const 65536)))
            TABLES
            (global.set $secret (call $deep (i64.const 0x5e5e5e5e5e5e5e5e) (i32.const 1000)))",
            tables.code(
                "(drop (table.grow $small (ref.func $f) (i32.const 100)))
                (table.fill $large (i32.const 0) (ref.func $f) (i32.const 6000))",
            ),
        ),
        body: "planted",
        ..Core::default()
    }
}

/// Looks at all of its memory that nobody has written to, its tables and globals, and traps if
/// there is anything.
fn hunter(memory: Memory, tables: Tables) -> Core {
    Core {
        memory: memory.pages,
        fields: SHAPE.to_owned(),
        handle: memory.until(
            "(local $at i32) (local $found i64)
            (drop (memory.grow (i32.const 40)))
            (local.set $at (i32.const 65536))
            (loop $next
                (local.set $found (i64.or (local.get $found) (i64.load (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const END))))
            (if (i64.ne (local.get $found) (i64.const 0)) (then (unreachable)))
            (if (i64.ne (global.get $secret) (i64.const 0)) (then (unreachable)))
            TABLES",
            tables.code(
                "(drop (table.grow $small (ref.null func) (i32.const 100)))
            (local.set $at (i32.const 0))
            (loop $next
                (if (i32.eqz (ref.is_null (table.get $large (local.get $at)))) (then (unreachable)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 6000))))
            (local.set $at (i32.const 0))
            (loop $next
                (if (i32.eqz (ref.is_null (table.get $small (local.get $at)))) (then (unreachable)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 110))))",
            ),
        ),
        body: "nothing",
        ..Core::default()
    }
}

/// Asks both tenants at once, with few slots between them, so that both have each slot. Their
/// answers are looked at.
async fn ask_both(
    components: [&Path; 2],
    limits: &str,
    path: &'static str,
    look: impl Fn(&str, &str) + Copy + Send + 'static,
) {
    let [suspect, neighbour] = components;
    let tenants = Tenants::with(suspect, limits, |file| {
        file.settings.max_sandboxes = 8;
        file.settings.admission.wait = std::time::Duration::from_secs(60);
    })
    .await;
    tenants.deploy("neighbour", neighbour, limits).await.unwrap();
    let tenants = Arc::new(tenants);
    let mut all = tokio::task::JoinSet::new();
    for host in [SUSPECT, NEIGHBOUR] {
        for _ in 0..AT_ONCE {
            let tenants = tenants.clone();
            all.spawn(async move {
                for _ in 0..INVOCATIONS / AT_ONCE {
                    let reply = tenants.send(host, Method::GET, path, HeaderMap::new(), "").await;
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    look(host, reply.text());
                }
            });
        }
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
    tenants.served.sink.take();
    tenants.served.host.stop_provisioning();
    tenants.served.assert_idle().await;
}

async fn hunts(memory: Memory, limits: &str) {
    hunt(&planter(memory, Tables::Planted), &hunter(memory, Tables::Planted), limits).await;
}

async fn hunt(planter: &Core, hunter: &Core, limits: &str) {
    let dir = tempfile::tempdir().unwrap();
    let planter = write_component(dir.path(), "planter.wasm", &planter.lean());
    let hunter = write_component(dir.path(), "hunter.wasm", &hunter.lean());
    ask_both([&planter, &hunter], limits, "/", |host, said| {
        assert_eq!(said, if host == SUSPECT { "planted" } else { "nothing" });
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hunt_through_reused_slots() {
    hunts(SMALL, "").await;
    hunts(LARGE, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hunt_through_provisioned_sandboxes() {
    hunts(SMALL, "provisioned = 4").await;
    hunts(LARGE, "provisioned = 4").await;
}

/// The secret is in what each sandbox of the one starts from, and what each of the other's starts
/// from has none.
#[tokio::test(flavor = "multi_thread")]
async fn a_hunt_through_slots_of_snapshots() {
    for (memory, plant) in [
        (SMALL, "(memory.fill (i32.const 65536) (i32.const 0x5e) (i32.const 196608))"),
        (LARGE, "(memory.fill (i32.const 65536) (i32.const 0x5e) (i32.const 2555904))"),
    ] {
        // Each sees that it starts from its own.
        let found =
            "(if (i32.ne (i32.load8_u (i32.const 100000)) (i32.const 0x5e)) (then (unreachable)))";
        let planter = planter(memory, Tables::Left);
        let handle = Box::leak(format!("{found} {}", planter.handle).into_boxed_str());
        let planter = Core { init: plant, handle, ..planter };
        let hunter = hunter(memory, Tables::Left);
        let found = "(if (i32.eqz (i32.load (i32.const 40000))) (then (unreachable)))";
        // Behind the locals.
        let handle = hunter.handle.replacen("(drop", &format!("{found} (drop"), 1);
        let hunter = Core {
            init: "(i32.store (i32.const 40000) (i32.const 1))",
            handle: Box::leak(handle.into_boxed_str()),
            ..hunter
        };
        hunt(&planter, &hunter, "").await;
    }
}

/// Instances that serve more than one invocation serve no other tenant's, though both run the same
/// bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_hunt_through_instances_that_are_used_again() {
    for name in ["portable-02", "portable-03"] {
        let component = guest(name);
        ask_both([&component, &component], "reuse = 5", "/asked", |host, said| {
            assert_eq!(said, format!("{host}\n"));
        })
        .await;
    }
}

/// A function that leaves much of its slot is followed by itself, too.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_from_one_invocation_to_the_next() {
    let core = Core {
        fields: "(global $count (mut i32) (i32.const 0)) (table $t 10 funcref) (func $f) (elem declare func $f)".to_owned(),
        handle: "(if (global.get $count) (then (unreachable)))
            (if (i32.load (i32.const 40000)) (then (unreachable)))
            (if (i32.eqz (ref.is_null (table.get $t (i32.const 3)))) (then (unreachable)))
            (global.set $count (i32.const 1))
            (i32.store (i32.const 40000) (i32.const 1))
            (table.set $t (i32.const 3) (ref.func $f))",
        ..Core::default()
    };
    for limits in ["", "provisioned = 4"] {
        Target::core(&core)
            .limits(limits)
            .attacked(async |host| {
                for _ in 0..200 {
                    let reply = client::get(host.address(), SUSPECT, "/").await;
                    assert_eq!((reply.status, reply.outcome()), (200, "ok"));
                }
            })
            .await;
    }
}

/// The other tenant's guest finds nothing of one tenant's manifest and log.
#[tokio::test(flavor = "multi_thread")]
async fn environment_and_log_of_another() {
    const SECRET: &str = "hunter2-of-the-neighbour";
    let tenants = Tenants::hostile("").await;
    let env = format!("[functions.neighbour.env]\nTOKEN = {SECRET:?}");
    tenants.deploy("neighbour", &guest("hostile"), &env).await.unwrap();
    let ask = async |host: &str, path: &str| {
        tenants.send(host, Method::GET, path, HeaderMap::new(), "").await.text().to_owned()
    };
    for _ in 0..100 {
        assert!(ask(NEIGHBOUR, "/reach").await.contains(SECRET));
        let theirs = ask(SUSPECT, "/reach").await;
        assert!(!theirs.contains(SECRET) && !theirs.contains("TOKEN"), "{theirs}");
        assert!(theirs.contains("LACEWING_TENANT=suspect"), "{theirs}");
    }
    ask(NEIGHBOUR, "/flood/10").await;
    for one in tenants.served.sink.take() {
        if let lacewing::telemetry::Captured::Line(line) = one {
            assert_eq!(line.context.origin.tenant().as_str(), "neighbour", "{}", line.message);
        }
    }
    tenants.served.assert_idle().await;
}

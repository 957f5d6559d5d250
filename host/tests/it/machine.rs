//! Machines that have less than a host wants: address space, memory, descriptors. A shortage is the
//! host's, and no function's fault.

use std::path::Path;

use futures_util::future::join_all;

use crate::{
    client::get,
    components::{Core, component_file},
    process::Up,
};

const GIB: u64 = 1 << 20;

/// Serves a component within these limits.
fn up(limits: &str, component: &Path) -> Up {
    Up::limited(limits, &[component.to_str().unwrap()])
}

/// The outcomes of many answers at once: how many are `ok`, how many `load_shed`. There are no
/// others.
async fn at_once(up: &Up, count: usize) -> (usize, usize) {
    let replies = join_all((0..count).map(|_| get(up.address, "localhost", "/"))).await;
    let outcomes: Vec<&str> = replies.iter().map(|reply| reply.outcome()).collect();
    let of = |outcome: &str| outcomes.iter().filter(|one| **one == outcome).count();
    let (fine, shed) = (of("ok"), of("load_shed"));
    assert_eq!(fine + shed, count, "{outcomes:?}\n{}", up.said());
    (fine, shed)
}

#[test]
fn an_address_space_that_holds_no_sandbox_is_an_error_at_the_start() {
    let (_dir, component) = component_file(&Core::default().lean());
    for gib in [1, 4] {
        let (status, said) = up(&format!("ulimit -v {}", gib * GIB), &component).wait();
        assert_eq!(status.code(), Some(1), "{said}");
        let error = format!(
            "error: the address space of this process does not hold a sandbox, which takes somewhat more than 4 GiB of it: its limit is {} MiB (RLIMIT_AS); raise it with `ulimit -v unlimited`, or with `LimitAS=infinity` in a unit of systemd",
            gib << 10
        );
        assert!(said.lines().any(|line| line.starts_with(&error)), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_space_for_a_few_sandboxes_has_a_few() {
    let (_dir, component) = component_file(&Core { body: "few", ..Core::default() }.lean());
    let up = up(&format!("ulimit -v {}", 14 * GIB), &component).serving();
    let said = up.line("no pool fits into the address space");
    assert!(said.contains("asked=1000 sandboxes=2"), "{said}");
    let (fine, _) = at_once(&up, 16).await;
    assert!(fine > 0);
    let metrics = get(up.admin, "localhost", "/metrics").await;
    assert!(metrics.text().contains("\nlacewing_sandboxes_capacity 2\n"), "{}", metrics.text());
}

/// A component with so many memories in each sandbox, which spins for some 100 ms.
fn of_memories(count: usize) -> Core {
    let instances: String = (0..count - 1).map(|_| "(core instance (instantiate $more))").collect();
    Core {
        outer: format!("(core module $more (memory 1)) {instances}"),
        fields: "(global $n (mut i32) (i32.const 30000000))".to_owned(),
        handle: "(loop $l (br_if $l (global.get $n) (global.set $n (i32.sub (global.get $n) (i32.const 1)))))",
        ..Core::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memories_that_the_address_space_does_not_hold_are_no_trap() {
    // One of them fits beside the spare one that a deploy starts, and two do not.
    let (_dir, component) = component_file(&of_memories(3).lean());
    let up = up(&format!("ulimit -v {}", 18 * GIB), &component).serving();
    let (fine, shed) = at_once(&up, 6).await;
    assert!(fine > 0 && shed > 0, "{fine} answered, {shed} shed");
    let record = up.line("load_shed");
    assert!(!up.said().contains(" trap "), "{}", up.said());
    assert!(record.contains("503"), "{record}");
    // When the others are gone, there is room again.
    assert_eq!(at_once(&up, 1).await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growth_that_the_system_refuses_is_no_trap() {
    // An allocator that gives up: 200 MiB of private memory, and the process may have less. The
    // host itself has the rest of the limit.
    let core = Core {
        handle: "(if (i32.eq (memory.grow (i32.const 3200)) (i32.const -1)) (then unreachable))",
        ..Core::default()
    };
    let (_dir, component) = component_file(&core.lean());
    let manifest = component.with_file_name("lacewing.toml");
    std::fs::write(
        &manifest,
        "app = \"a\"\n[functions.f]\ncomponent = \"it.wasm\"\nroutes = [\"/\"]\nlimits = { memory_mib = 256 }\n",
    )
    .unwrap();
    let _ = std::fs::rename(&component, component.with_file_name("it.wasm"));
    let unlimited = up("true", &manifest).serving();
    assert_eq!(at_once(&unlimited, 1).await, (1, 0));
    let limited = up("ulimit -d 200000", &manifest).serving();
    assert_eq!(at_once(&limited, 1).await, (0, 1));
    let record = limited.line("load_shed");
    assert!(record.contains("the host has none left"), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_leave_descriptors_for_the_admin_address_and_for_artifacts() {
    let (_dir, component) = component_file(&Core { body: "few", ..Core::default() }.lean());
    let up = up("ulimit -n 128", &component).serving();
    let said = up.line("RLIMIT_NOFILE");
    assert!(said.contains("asked=10000 connections=64"), "{said}");
    let mut idle = Vec::new();
    for _ in 0..128 {
        idle.push(tokio::net::TcpStream::connect(up.address).await.unwrap());
    }
    crate::harness::eventually("as many are accepted as may be", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", up.pid())).unwrap().count();
        open >= 64
    })
    .await;
    assert_eq!(get(up.admin, "localhost", "/readyz").await.text(), "ready\n");
    drop(idle);
    assert_eq!(at_once(&up, 1).await, (1, 0));
}

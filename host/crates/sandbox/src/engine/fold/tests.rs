use wasmtime::{
    Config, Engine, Store,
    component::{Component, Linker},
};

use super::folded;

/// As tools make it: main imports `double` and `log`, of which `log` needs main's memory.
const BUILT: &str = r#"(component
  (import "log" (func $log (param "text" string)))
  (import "double" (func $double (param "n" u32) (result u32)))
  (core module $main
    (type $log (func (param i32 i32)))
    (type $double (func (param i32) (result i32)))
    (import "host" "log" (func $log (type $log)))
    (import "host" "double" (func $double (type $double)))
    (memory (export "memory") 1)
    (data (i32.const 16) "hello")
    (table 2 2 funcref)
    (elem (i32.const 0) func $log $own)
    (func $own (type $double) (i32.add (local.get 0) (i32.const 1)))
    (func (export "run") (param i32) (result i32)
      (call $log (i32.const 16) (i32.const 5))
      (call_indirect (type $log) (i32.const 18) (i32.const 3) (i32.const 0))
      (call $double (call_indirect (type $double) (local.get 0) (i32.const 1)))))
  (core module $shim
    (type (func (param i32 i32)))
    (table (export "$imports") 1 1 funcref)
    (func (export "0") (type 0)
      local.get 0 local.get 1 i32.const 0 call_indirect (type 0)))
  (core module $fixup
    (type (func (param i32 i32)))
    (import "" "0" (func (type 0)))
    (import "" "$imports" (table 1 1 funcref))
    (elem (i32.const 0) func 0))
  (core instance $shim (instantiate $shim))
  (alias core export $shim "0" (core func $indirect))
  (core func $lowered-double (canon lower (func $double)))
  (core instance $host (export "log" (func $indirect)) (export "double" (func $lowered-double)))
  (core instance $main (instantiate $main (with "host" (instance $host))))
  (alias core export $main "memory" (core memory $memory))
  (alias core export $shim "$imports" (core table $table))
  (core func $lowered-log (canon lower (func $log) (memory $memory)))
  (core instance $args (export "$imports" (table $table)) (export "0" (func $lowered-log)))
  (core instance (instantiate $fixup (with "" (instance $args))))
  (alias core export $main "run" (core func $run))
  (func (export "run") (param "n" u32) (result u32) (canon lift (core func $run))))"#;

/// The result of `run(20)`, its log, and the number of core instances that it took.
fn run(bytes: &[u8]) -> (u32, Vec<String>, u32) {
    let mut config = Config::new();
    config.wasm_component_model(true);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, bytes).unwrap();
    let mut linker = Linker::<Vec<String>>::new(&engine);
    let mut root = linker.root();
    root.func_wrap("log", |mut store, (text,): (String,)| {
        store.data_mut().push(text);
        Ok(())
    })
    .unwrap();
    root.func_wrap("double", |_, (n,): (u32,)| Ok((n * 2,))).unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let run = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "run").unwrap();
    let (result,) = run.call(&mut store, (20,)).unwrap();
    let tables = component.resources_required().unwrap().num_tables;
    (result, store.into_data(), tables)
}

#[test]
fn a_folded_component_does_the_same_with_one_instance_less() {
    let built = wat::parse_str(BUILT).unwrap();
    let logged = vec!["hello".to_owned(), "llo".to_owned()];
    assert_eq!(run(&built), (42, logged.clone(), 2));
    let folded = folded(&built).unwrap();
    assert_eq!(run(&folded), (42, logged, 1));
    // Nothing is left to be folded.
    assert!(super::folded(&folded).is_none());
}

#[test]
fn components_of_another_shape_are_left_alone() {
    let unlike = [
        // A table that can grow, or whose length is looked at.
        ("(table 2 2 funcref)", "(table 2 3 funcref)"),
        ("(func $own (type $double) (i32", "(func $own (type $double) (drop (table.size 0)) (i32"),
        // A shim that does something else than to call its slot.
        ("local.get 0 local.get 1 i32.const 0", "local.get 1 local.get 0 i32.const 0"),
        ("local.get 0 local.get 1 i32.const 0", "local.get 0 local.get 1 i32.const 1"),
        // A shim with something besides the functions.
        ("(table (export \"$imports\") 1 1", "(memory 1) (table (export \"$imports\") 1 1"),
        // A fixup that does more, or writes elsewhere.
        ("(elem (i32.const 0) func 0))", "(func) (elem (i32.const 0) func 0))"),
        ("(elem (i32.const 0) func 0))", "(elem (i32.const 0) func))"),
        // A second user of the shim.
        (
            "(core instance $main (instantiate",
            "(core instance (instantiate $main (with \"host\" (instance $host))))\n(core instance $main (instantiate",
        ),
        // An export of main's that has the table's name.
        ("(table 2 2 funcref)", "(table (export \"$imports\") 2 2 funcref)"),
        // An inner component that takes a module from outside.
        (
            "(core instance $shim (instantiate $shim))",
            "(component (alias outer 1 $main (core module)))\n(core instance $shim (instantiate $shim))",
        ),
    ];
    for (from, to) in unlike {
        assert!(BUILT.contains(from), "{from}");
        let bytes = wat::parse_str(BUILT.replacen(from, to, 1)).unwrap();
        assert!(folded(&bytes).is_none(), "{to}");
    }
}

#[test]
fn bytes_that_are_cut_short_are_left_alone() {
    let built = wat::parse_str(BUILT).unwrap();
    for len in 0..built.len() {
        // A cut between two sections of the end may still be a component.
        if let Some(bytes) = folded(&built[..len]) {
            assert!(bytes.starts_with(b"\0asm"));
        }
    }
}

//! A component as tools make it, and the same component folded: both are valid, and both call the
//! host with the same values, in the same order, to the same end.
//!
//! The input chooses the imports with their types, the table of the main module, and the calls of
//! its function. One end may differ on purpose: a call through a slot right behind the table traps
//! in the component as built, and may reach an import in the folded one. The script calls no such
//! slot.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock, Mutex},
};

use lacewing::fuzzing;
use wasmparser::{Validator, WasmFeatures};
use wasmtime::{
    Config, Engine, Store, Trap,
    component::{Component, Linker, Val},
};

use super::script::Script;

const MOST_IMPORTS: usize = 6;
const MOST_PARAMS: usize = 4;
const MOST_CALLS: usize = 24;

/// The type of a parameter or result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    U32,
    U64,
    F32,
    F64,
    Text,
}

const TYPES: [Type; 5] = [Type::U32, Type::U64, Type::F32, Type::F64, Type::Text];

impl Type {
    fn component(self) -> &'static str {
        match self {
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Text => "string",
        }
    }

    fn core(self) -> &'static str {
        match self {
            Type::U32 => "i32",
            Type::U64 => "i64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Text => "i32 i32",
        }
    }
}

/// An import of the component: a function of the host.
struct Import {
    params: Vec<Type>,
    result: Option<Type>,
}

impl Import {
    fn read(script: &mut Script<'_>) -> Import {
        let count = usize::from(script.or_zero()) % (MOST_PARAMS + 1);
        let params = (0..count).map(|_| *script.one_of(&TYPES)).collect();
        // A text as result would take an allocator in the guest.
        let result = TYPES[..4].get(usize::from(script.or_zero()) % 5).copied();
        Import { params, result }
    }

    /// Whether its lowered form needs the memory of main: such an import goes through the shim.
    fn needs_memory(&self) -> bool {
        self.params.contains(&Type::Text)
    }

    fn core_type(&self) -> String {
        let params: Vec<_> = self.params.iter().map(|one| one.core()).collect();
        let result = self.result.map(|one| format!(" (result {})", one.core()));
        format!("(func (param {}){})", params.join(" "), result.unwrap_or_default())
    }

    /// The inside of `(func ...)`.
    fn component_type(&self) -> String {
        let params = self.params.iter().enumerate();
        let params: String =
            params.map(|(at, one)| format!(" (param \"p{at}\" {})", one.component())).collect();
        let result = self.result.map(|one| format!(" (result {})", one.component()));
        params + &result.unwrap_or_default()
    }

    fn core_params(&self) -> usize {
        self.params.iter().map(|one| one.core().split(' ').count()).sum()
    }
}

/// What main does when it is run.
struct Plan {
    imports: Vec<Import>,
    /// The imports in main's table, by their index; any other number is main's own function.
    table: Vec<usize>,
    calls: String,
}

impl Plan {
    fn read(script: &mut Script<'_>) -> Plan {
        let count = 1 + usize::from(script.or_zero()) % MOST_IMPORTS;
        let imports: Vec<_> = (0..count).map(|_| Import::read(script)).collect();
        let slots = 1 + usize::from(script.or_zero()) % 6;
        let table = (0..slots).map(|_| usize::from(script.or_zero()) % (count + 2)).collect();
        let mut plan = Plan { imports, table, calls: String::new() };
        for _ in 0..MOST_CALLS {
            let Some(how) = script.byte() else { break };
            plan.call(how, script);
        }
        plan
    }

    /// Adds one call, whose result goes into the sum.
    fn call(&mut self, how: u8, script: &mut Script<'_>) {
        let at = usize::from(script.or_zero()) % self.imports.len();
        let import = &self.imports[at];
        let mut args = String::new();
        for one in &import.params {
            let number = u32::from(script.or_zero());
            let _ = match one {
                Type::U32 => write!(args, " (i32.const {})", number.wrapping_mul(0x0101_0101)),
                Type::U64 => write!(args, " (i64.const {})", u64::from(number) << 33),
                Type::F32 => write!(args, " (f32.const {number}.5)"),
                Type::F64 => write!(args, " (f64.const -{number}.25)"),
                // Now and then beyond the memory, which is an error of the call.
                Type::Text => {
                    let length = if number == 255 { 70_000 } else { number / 4 };
                    write!(args, " (i32.const {number}) (i32.const {length})")
                }
            };
        }
        let call = match how % 4 {
            0 => format!("(call $f{at}{args})"),
            1 => format!("(call $by{at}{args})"),
            // Through a slot that may hold a function of another type, or that is far outside.
            _ => {
                let slot = match script.or_zero() {
                    255 => 1000,
                    slot => usize::from(slot) % self.table.len(),
                };
                format!("(call_indirect (type $t{at}){args} (i32.const {slot}))")
            }
        };
        let number = match import.result {
            None => format!("{call} (i64.const 1)"),
            Some(Type::U32) => format!("(i64.extend_i32_u {call})"),
            Some(Type::F32) => format!("(i64.extend_i32_u (i32.reinterpret_f32 {call}))"),
            Some(Type::F64) => format!("(i64.reinterpret_f64 {call})"),
            Some(Type::U64 | Type::Text) => call,
        };
        let _ = match import.result {
            None => writeln!(self.calls, "{number} (local.set $last)"),
            Some(_) => writeln!(self.calls, "(local.set $last {number})"),
        };
        self.calls.push_str(
            "(local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (local.get $last)))\n",
        );
    }

    /// The component, as text.
    fn component(&self) -> String {
        let indirect: Vec<usize> =
            (0..self.imports.len()).filter(|at| self.imports[*at].needs_memory()).collect();
        let slots = indirect.len();
        let mut out = String::from("(component\n");
        for (at, one) in self.imports.iter().enumerate() {
            let _ = writeln!(out, "(import \"i{at}\" (func $i{at}{}))", one.component_type());
        }
        self.main(&mut out);
        let _ = writeln!(out, "(core module $shim");
        for (slot, at) in indirect.iter().enumerate() {
            let _ = writeln!(out, "(type $s{slot} {})", self.imports[*at].core_type());
        }
        let _ = writeln!(out, "(table (export \"$imports\") {slots} {slots} funcref)");
        for (slot, at) in indirect.iter().enumerate() {
            let args: String =
                (0..self.imports[*at].core_params()).map(|n| format!(" local.get {n}")).collect();
            let _ = writeln!(
                out,
                "(func (export \"{slot}\") (type $s{slot}){args} i32.const {slot} call_indirect (type $s{slot}))"
            );
        }
        let _ = writeln!(out, ")\n(core module $fixup");
        for (slot, at) in indirect.iter().enumerate() {
            let _ = writeln!(out, "(type $s{slot} {})", self.imports[*at].core_type());
        }
        for slot in 0..slots {
            let _ = writeln!(out, "(import \"\" \"{slot}\" (func (type $s{slot})))");
        }
        let _ = writeln!(out, "(import \"\" \"$imports\" (table {slots} {slots} funcref))");
        let funcs: String = (0..slots).map(|slot| format!(" {slot}")).collect();
        let _ = writeln!(out, "(elem (i32.const 0) func{funcs}))");
        let _ = writeln!(out, "(core instance $shim (instantiate $shim))");
        for (slot, at) in indirect.iter().enumerate() {
            let _ = writeln!(out, "(alias core export $shim \"{slot}\" (core func $l{at}))");
        }
        for at in 0..self.imports.len() {
            if !indirect.contains(&at) {
                let _ = writeln!(out, "(core func $l{at} (canon lower (func $i{at})))");
            }
        }
        let exports: String = (0..self.imports.len())
            .map(|at| format!(" (export \"i{at}\" (func $l{at}))"))
            .collect();
        let _ = writeln!(out, "(core instance $host{exports})");
        out.push_str(
            "(core instance $main (instantiate $main (with \"host\" (instance $host))))
             (alias core export $main \"memory\" (core memory $memory))
             (alias core export $shim \"$imports\" (core table $table))\n",
        );
        let mut args = String::new();
        for (slot, at) in indirect.iter().enumerate() {
            let _ = writeln!(
                out,
                "(core func $real{slot} (canon lower (func $i{at}) (memory $memory)))"
            );
            let _ = write!(args, " (export \"{slot}\" (func $real{slot}))");
        }
        let _ = writeln!(out, "(core instance $args (export \"$imports\" (table $table)){args})");
        out.push_str(
            "(core instance (instantiate $fixup (with \"\" (instance $args))))
             (alias core export $main \"run\" (core func $run))
             (func (export \"run\") (result u64) (canon lift (core func $run))))",
        );
        out
    }

    fn main(&self, out: &mut String) {
        let _ = writeln!(out, "(core module $main");
        for (at, one) in self.imports.iter().enumerate() {
            let _ = writeln!(out, "(type $t{at} {})", one.core_type());
        }
        for at in 0..self.imports.len() {
            let _ = writeln!(out, "(import \"host\" \"i{at}\" (func $f{at} (type $t{at})))");
        }
        let slots = self.table.len();
        let _ = writeln!(
            out,
            "(memory (export \"memory\") 1)\n(data (i32.const 0) \"{}\")\n(table {slots} {slots} funcref)",
            "abcdefghijklmnopqrstuvwxyz".repeat(16)
        );
        let entries: String = self
            .table
            .iter()
            .map(|at| match self.imports.get(*at) {
                Some(_) => format!(" $f{at}"),
                None => " $own".to_owned(),
            })
            .collect();
        let _ = writeln!(out, "(elem (i32.const 0) func{entries})\n(func $own)");
        // A function of main's that passes its arguments on.
        for (at, one) in self.imports.iter().enumerate() {
            let args: String = (0..one.core_params()).map(|n| format!(" local.get {n}")).collect();
            let _ = writeln!(out, "(func $by{at} (type $t{at}){args} call $f{at})");
        }
        let _ = writeln!(
            out,
            "(func (export \"run\") (result i64) (local $sum i64) (local $last i64)\n{} local.get $sum))",
            self.calls
        );
    }
}

/// How a run ended, and the calls of the host until then.
#[derive(Debug, PartialEq)]
struct Observed {
    calls: Vec<String>,
    end: Result<u64, Option<Trap>>,
}

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let mut config = Config::new();
    config.wasm_component_model(true);
    Engine::new(&config).expect("an engine")
});

fn observe(bytes: &[u8], imports: &[Import]) -> Observed {
    let component = Component::new(&ENGINE, bytes).expect("it was validated");
    let calls: Arc<Mutex<Vec<String>>> = Arc::default();
    let mut linker = Linker::<()>::new(&ENGINE);
    for (at, import) in imports.iter().enumerate() {
        let (calls, result) = (calls.clone(), import.result);
        let function = move |_: wasmtime::StoreContextMut<'_, ()>,
                             _: wasmtime::component::types::ComponentFunc,
                             params: &[Val],
                             results: &mut [Val]| {
            let mut calls = calls.lock().expect("no call panics");
            calls.push(format!("i{at}{params:?}"));
            let number = u16::try_from(calls.len()).unwrap_or(u16::MAX);
            if let Some(result) = result {
                results[0] = match result {
                    Type::U32 => Val::U32(number.into()),
                    Type::U64 => Val::U64(u64::from(number) << 40),
                    Type::F32 => Val::Float32(f32::from(number) / 3.0),
                    Type::F64 | Type::Text => Val::Float64(f64::from(number) / 3.0),
                };
            }
            Ok(())
        };
        linker.root().func_new(&format!("i{at}"), function).expect("each name once");
    }
    let mut store = Store::new(&ENGINE, ());
    let end = linker.instantiate(&mut store, &component).and_then(|instance| {
        let run = instance.get_typed_func::<(), (u64,)>(&mut store, "run")?;
        Ok(run.call(&mut store, ())?.0)
    });
    let end = end.map_err(|error| error.downcast_ref::<Trap>().copied());
    let calls = std::mem::take(&mut *calls.lock().expect("no call panics"));
    Observed { calls, end }
}

pub(crate) fn run(data: &[u8]) {
    let plan = Plan::read(&mut Script(data));
    let built = wat::parse_str(plan.component()).expect("the text is a component");
    let is_valid = |bytes: &[u8]| {
        Validator::new_with_features(WasmFeatures::all()).validate_all(bytes).is_ok()
    };
    if !is_valid(&built) {
        panic!("the component as built is not valid:\n{}", plan.component());
    }
    let folded = fuzzing::folded(&built);
    let has_shim = plan.imports.iter().any(Import::needs_memory);
    assert_eq!(folded.is_some(), has_shim, "{}", plan.component());
    let Some(folded) = folded else { return };
    assert!(is_valid(&folded), "the folded component is not valid:\n{}", plan.component());
    assert_eq!(
        observe(&folded, &plan.imports),
        observe(&built, &plan.imports),
        "{}",
        plan.component()
    );
}

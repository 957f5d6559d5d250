//! Components written by hand, in the text format: what no toolchain makes, and what has to be
//! known to the byte.

use std::path::{Path, PathBuf};

/// A component with one core module that has a memory, and answers every request with 200.
pub(crate) struct Core {
    /// Limits of its memory, in pages.
    pub(crate) memory: &'static str,
    /// Imports of the module.
    pub(crate) imports: &'static str,
    /// More fields of the module.
    pub(crate) fields: String,
    /// The work before it answers.
    pub(crate) handle: &'static str,
    /// The body that it answers with: ASCII, less than 1 KiB.
    pub(crate) body: &'static str,
    /// The work where the host first asks it for memory.
    pub(crate) realloc: &'static str,
    /// The work after its result was read.
    pub(crate) post_return: &'static str,
    /// The work of its `lacewing:function/init` before it succeeds. Empty: it has none.
    pub(crate) init: &'static str,
    /// More definitions of the component, before the module is instantiated.
    pub(crate) outer: String,
    /// The imports of the module's instantiation.
    pub(crate) with: &'static str,
    /// How its strings are encoded.
    pub(crate) encoding: &'static str,
}

impl Default for Core {
    fn default() -> Core {
        Core {
            memory: "1",
            imports: "",
            fields: String::new(),
            handle: "",
            body: "",
            realloc: "",
            post_return: "",
            init: "",
            outer: String::new(),
            with: "",
            encoding: "utf8",
        }
    }
}

/// The records of `lacewing:function/http`, each after those that it is made of.
const RECORDS: [(&str, &str); 4] = [
    ("field", r#"(field "name" string) (field "value" (list u8))"#),
    ("param", r#"(field "name" string) (field "value" string)"#),
    (
        "request",
        r#"(field "method" string) (field "scheme" string) (field "authority" string)
            (field "path-with-query" string) (field "route" string) (field "params" (list $param))
            (field "headers" (list $field)) (field "body" (list u8))"#,
    ),
    (
        "response",
        r#"(field "status" u16) (field "headers" (list $field)) (field "body" (list u8))"#,
    ),
];

/// The export that is called once, when a revision is made.
const INIT: &str = r#"(func $init (result (result (error string)))
        (canon lift (core func $i "init") (memory (core memory $i "memory"))))
    (instance $init-instance (export "init" (func $init)))
    (export "lacewing:function/init@0.1.0" (instance $init-instance))"#;

impl Core {
    fn module(&self) -> String {
        let Core { memory, imports, fields, handle, body, realloc, post_return, init, .. } = self;
        // At 0 the response: status, no headers, and the body, which lies at 1024. Arguments go
        // behind it.
        format!(
            r#"(core module $core
                {imports}
                (memory (export "memory") {memory})
                {fields}
                (data (i32.const 0) "\c8\00\00\00\00\00\00\00\00\00\00\00\00\04\00\00{length}")
                (data (i32.const 1024) "{body}")
                (global $next (mut i32) (i32.const 2048))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    {realloc}
                    (global.set $next (i32.and
                        (i32.add (i32.add (global.get $next) (local.get 3)) (i32.const 15))
                        (i32.const -8)))
                    (i32.and (i32.sub (global.get $next) (local.get 3)) (i32.const -8)))
                (func (export "handle")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                    {handle}
                    (i32.const 0))
                (func (export "post-return") (param i32) {post_return})
                (func (export "init") (result i32) {init} (i32.const 64))
            )"#,
            length = u32::try_from(body.len())
                .unwrap()
                .to_le_bytes()
                .map(|b| format!("\\{b:02x}"))
                .concat(),
        )
    }

    /// The component's text, with `lacewing:function/http` as its export.
    pub(crate) fn lean(&self) -> String {
        let (outer, module, with) = (&self.outer, self.module(), self.with);
        let encoding = self.encoding;
        let init = if self.init.is_empty() { "" } else { INIT };
        let types =
            RECORDS.map(|(name, fields)| format!("(type ${name} (record {fields}))\n")).concat();
        // Records can be exported by name only, which takes a component that gives them their
        // names.
        let imports = RECORDS.map(|(name, fields)| {
            format!(
                "(type ${name}-record (record {fields}))
                (import \"type-{name}\" (type ${name} (eq ${name}-record)))\n"
            )
        });
        let exports = RECORDS.map(|(name, fields)| {
            let fields = fields.replace("$field", "$field-named").replace("$param", "$param-named");
            format!(
                "(type ${name}-again (record {fields}))
                (export ${name}-named \"{name}\" (type ${name}-again))\n"
            )
        });
        let named = RECORDS.map(|(name, _)| format!("(with \"type-{name}\" (type ${name}))\n"));
        format!(
            r#"(component
                {outer}
                {module}
                (core instance $i (instantiate $core {with}))
                {types}
                (func $handle (param "request" $request) (result $response)
                    (canon lift (core func $i "handle")
                        (memory (core memory $i "memory")) (realloc (core func $i "realloc"))
                        (post-return (core func $i "post-return")) string-encoding={encoding}))
                (component $interface
                    {imports}
                    (import "handle" (func $handle (param "request" $request) (result $response)))
                    {exports}
                    (export "handle" (func $handle)
                        (func (param "request" $request-named) (result $response-named))))
                (instance $http (instantiate $interface {named} (with "handle" (func $handle))))
                (export "lacewing:function/http@0.1.0" (instance $http))
                {init})"#,
            imports = imports.concat(),
            exports = exports.concat(),
            named = named.concat(),
        )
    }
}

/// Assembles a component into a file of a folder of its own.
pub(crate) fn component_file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = write_component(dir.path(), "component.wasm", text);
    (dir, path)
}

/// Assembles a component into a file of this folder.
pub(crate) fn write_component(dir: &Path, name: &str, text: &str) -> PathBuf {
    let bytes = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

;; What a generated module has to import and export.
(module
  (import "host" "now" (func (result i64)))
  (import "host" "random" (func (result i64)))
  (memory (export "memory") 1)
  (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
  (func (export "handle")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    unreachable)
  (func (export "post-return") (param i32)))

;; A component that calls the host as its request's body says: four bytes are an instruction, see `step`.
;;
;; Memory, in bytes: handles from 0x1000, the script from 0x4000, the response at 0x8000, results of calls at 0x8100, text from
;; 0x20000, a list from 0x60000, and what the host hands over from 0xa0000.
(component
  (import "wasi:io/error@0.2.0" (instance $error-i (export "error" (type (sub resource)))))
  (alias export $error-i "error" (type $error))
  (import "wasi:io/poll@0.2.0" (instance $poll-i
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))
    (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
  (alias export $poll-i "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.0" (instance $streams-i
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (alias outer 1 $pollable (type $outer-pollable))
    (export "pollable" (type $pollable (eq $outer-pollable)))
    (type $failed (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failed)))
    (export "output-stream" (type $output (sub resource)))
    (export "[method]output-stream.check-write"
      (func (param "self" (borrow $output)) (result (result u64 (error $stream-error)))))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $output)) (param "contents" (list u8))
        (result (result (error $stream-error)))))
    (export "[method]output-stream.flush"
      (func (param "self" (borrow $output)) (result (result (error $stream-error)))))
    (export "[method]output-stream.subscribe"
      (func (param "self" (borrow $output)) (result (own $pollable))))))
  (alias export $streams-i "output-stream" (type $output))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock-i
    (alias outer 1 $pollable (type $outer-pollable))
    (export "pollable" (type $pollable (eq $outer-pollable)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
  (import "wasi:random/random@0.2.0" (instance $random-i
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:cli/environment@0.2.0" (instance $environment-i
    (export "get-environment" (func (result (list (tuple string string)))))))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout-i
    (alias outer 1 $output (type $outer-output))
    (export "output-stream" (type $output (eq $outer-output)))
    (export "get-stdout" (func (result (own $output))))))
  (import "wasi:http/types@0.2.0" (instance $http-i
    (alias outer 1 $output (type $outer-output))
    (export "output-stream" (type $output (eq $outer-output)))
    (type $wrong (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $wrong)))
    (type $some-method (variant (case "get") (case "head") (case "post") (case "put") (case "delete")
      (case "connect") (case "options") (case "trace") (case "patch") (case "other" string)))
    (export "method" (type $method (eq $some-method)))
    (type $some-scheme (variant (case "HTTP") (case "HTTPS") (case "other" string)))
    (export "scheme" (type $scheme (eq $some-scheme)))
    (export "fields" (type $fields (sub resource)))
    (export "outgoing-request" (type $request (sub resource)))
    (export "outgoing-body" (type $body (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[static]fields.from-list"
      (func (param "entries" (list (tuple string (list u8))))
        (result (result (own $fields) (error $header-error)))))
    (export "[method]fields.append"
      (func (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
        (result (result (error $header-error)))))
    (export "[method]fields.set"
      (func (param "self" (borrow $fields)) (param "name" string) (param "value" (list (list u8)))
        (result (result (error $header-error)))))
    (export "[method]fields.entries"
      (func (param "self" (borrow $fields)) (result (list (tuple string (list u8))))))
    (export "[method]fields.clone" (func (param "self" (borrow $fields)) (result (own $fields))))
    (export "[constructor]outgoing-request"
      (func (param "headers" (own $fields)) (result (own $request))))
    (export "[method]outgoing-request.set-method"
      (func (param "self" (borrow $request)) (param "method" $method) (result (result))))
    (export "[method]outgoing-request.set-path-with-query"
      (func (param "self" (borrow $request)) (param "path-with-query" (option string)) (result (result))))
    (export "[method]outgoing-request.set-authority"
      (func (param "self" (borrow $request)) (param "authority" (option string)) (result (result))))
    (export "[method]outgoing-request.set-scheme"
      (func (param "self" (borrow $request)) (param "scheme" (option $scheme)) (result (result))))
    (export "[method]outgoing-request.body"
      (func (param "self" (borrow $request)) (result (result (own $body)))))
    (export "[method]outgoing-body.write"
      (func (param "self" (borrow $body)) (result (result (own $output)))))))
  (alias export $http-i "fields" (type $fields))
  (alias export $http-i "outgoing-request" (type $request-r))
  (alias export $http-i "outgoing-body" (type $body-r))
  (core module $memory-m
    (memory (export "memory") 16)
    (global $next (export "next") (mut i32) (i32.const 0xa0000))
    ;; A bump: each call of the host begins it anew.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (if (i32.lt_u (global.get $next) (local.get $at)) (then (unreachable)))
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
            (i32.div_u (i32.sub (global.get $next) (i32.mul (memory.size) (i32.const 65536))) (i32.const 65536)))))
          (then (unreachable)))))
      (local.get $at)))
  (core instance $m (instantiate $memory-m))
  (alias core export $m "memory" (core memory $memory))
  (alias core export $m "realloc" (core func $realloc))
  (core func $ready (canon lower (func $poll-i "[method]pollable.ready")))
  (core func $poll (canon lower (func $poll-i "poll") (memory $memory) (realloc $realloc)))
  (core func $check-write (canon lower (func $streams-i "[method]output-stream.check-write") (memory $memory)))
  (core func $write (canon lower (func $streams-i "[method]output-stream.write") (memory $memory)))
  (core func $flush (canon lower (func $streams-i "[method]output-stream.flush") (memory $memory)))
  (core func $subscribe (canon lower (func $streams-i "[method]output-stream.subscribe")))
  (core func $timer (canon lower (func $clock-i "subscribe-duration")))
  (core func $random (canon lower (func $random-i "get-random-bytes") (memory $memory) (realloc $realloc)))
  (core func $environment (canon lower (func $environment-i "get-environment") (memory $memory) (realloc $realloc)))
  (core func $stdout (canon lower (func $stdout-i "get-stdout")))
  (core func $fields (canon lower (func $http-i "[constructor]fields")))
  (core func $from-list (canon lower (func $http-i "[static]fields.from-list") (memory $memory)))
  (core func $append (canon lower (func $http-i "[method]fields.append") (memory $memory)))
  (core func $set (canon lower (func $http-i "[method]fields.set") (memory $memory)))
  (core func $entries (canon lower (func $http-i "[method]fields.entries") (memory $memory) (realloc $realloc)))
  (core func $clone (canon lower (func $http-i "[method]fields.clone")))
  (core func $request (canon lower (func $http-i "[constructor]outgoing-request")))
  (core func $set-method (canon lower (func $http-i "[method]outgoing-request.set-method") (memory $memory)))
  (core func $set-path (canon lower (func $http-i "[method]outgoing-request.set-path-with-query") (memory $memory)))
  (core func $set-authority (canon lower (func $http-i "[method]outgoing-request.set-authority") (memory $memory)))
  (core func $set-scheme (canon lower (func $http-i "[method]outgoing-request.set-scheme") (memory $memory)))
  (core func $body (canon lower (func $http-i "[method]outgoing-request.body") (memory $memory)))
  (core func $body-write (canon lower (func $http-i "[method]outgoing-body.write") (memory $memory)))
  (core func $drop-fields (canon resource.drop $fields))
  (core func $drop-request (canon resource.drop $request-r))
  (core func $drop-body (canon resource.drop $body-r))
  (core func $drop-output (canon resource.drop $output))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core module $core
    (import "m" "memory" (memory 16))
    (import "m" "next" (global $next (mut i32)))
    (import "host" "ready" (func $ready (param i32) (result i32)))
    (import "host" "poll" (func $poll (param i32 i32 i32)))
    (import "host" "check-write" (func $check-write (param i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "flush" (func $flush (param i32 i32)))
    (import "host" "subscribe" (func $subscribe (param i32) (result i32)))
    (import "host" "timer" (func $timer (param i64) (result i32)))
    (import "host" "random" (func $random (param i64 i32)))
    (import "host" "environment" (func $environment (param i32)))
    (import "host" "stdout" (func $stdout (result i32)))
    (import "host" "fields" (func $fields (result i32)))
    (import "host" "from-list" (func $from-list (param i32 i32 i32)))
    (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (import "host" "set" (func $set (param i32 i32 i32 i32 i32 i32)))
    (import "host" "entries" (func $entries (param i32 i32)))
    (import "host" "clone" (func $clone (param i32) (result i32)))
    (import "host" "request" (func $request (param i32) (result i32)))
    (import "host" "set-method" (func $set-method (param i32 i32 i32 i32) (result i32)))
    (import "host" "set-path" (func $set-path (param i32 i32 i32 i32) (result i32)))
    (import "host" "set-authority" (func $set-authority (param i32 i32 i32 i32) (result i32)))
    (import "host" "set-scheme" (func $set-scheme (param i32 i32 i32 i32 i32) (result i32)))
    (import "host" "body" (func $body (param i32 i32)))
    (import "host" "body-write" (func $body-write (param i32 i32)))
    (import "host" "drop-fields" (func $drop-fields (param i32)))
    (import "host" "drop-request" (func $drop-request (param i32)))
    (import "host" "drop-body" (func $drop-body (param i32)))
    (import "host" "drop-output" (func $drop-output (param i32)))
    (import "host" "drop-pollable" (func $drop-pollable (param i32)))
    ;; The latest 16 handles of a kind are remembered; those before stay with the host.
    (func $slot (param $kind i32) (param $at i32) (result i32)
      (i32.add (i32.const 0x1000) (i32.add (i32.mul (local.get $kind) (i32.const 64))
        (i32.mul (i32.and (local.get $at) (i32.const 15)) (i32.const 4)))))
    (func $keep (param $kind i32) (param $handle i32)
      (local $counter i32)
      (local.set $counter (i32.add (i32.const 0x1400) (i32.mul (local.get $kind) (i32.const 4))))
      (i32.store (call $slot (local.get $kind) (i32.load (local.get $counter))) (local.get $handle))
      (i32.store (local.get $counter) (i32.add (i32.load (local.get $counter)) (i32.const 1))))
    ;; The handle that was made `back` handles ago, or 0.
    (func $held (param $kind i32) (param $back i32) (result i32)
      (i32.load (call $slot (local.get $kind) (call $place (local.get $kind) (local.get $back)))))
    (func $place (param $kind i32) (param $back i32) (result i32)
      (i32.sub (i32.sub (i32.load (i32.add (i32.const 0x1400) (i32.mul (local.get $kind) (i32.const 4))))
        (i32.const 1)) (local.get $back)))
    (func $forget (param $kind i32) (param $back i32)
      (i32.store (call $slot (local.get $kind) (call $place (local.get $kind) (local.get $back))) (i32.const 0)))
    (func $size (param $byte i32) (result i32)
      (i32.shl (i32.and (local.get $byte) (i32.const 15)) (i32.shr_u (local.get $byte) (i32.const 4))))
    ;; As much text as there is.
    (func $text (param $x i32) (result i32)
      (select (local.get $x) (i32.const 0x40000) (i32.lt_u (local.get $x) (i32.const 0x40000))))
    ;; As many entries as were described, or, where `y` is odd, as many as it says.
    (func $count (param $x i32) (param $y i32) (result i32)
      (select (local.get $x) (i32.const 16384)
        (i32.or (i32.and (local.get $y) (i32.const 1)) (i32.lt_u (local.get $x) (i32.const 16384)))))
    (func $describe (param $length i32)
      (local $at i32)
      (local.set $at (i32.const 0x60000))
      (loop $next
        (i32.store (local.get $at) (i32.const 0x20000))
        (i32.store offset=4 (local.get $at) (local.get $length))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 0xa0000)))))
    (func $describe-handles (param $handle i32)
      (local $at i32)
      (local.set $at (i32.const 0x60000))
      (loop $next
        (i32.store (local.get $at) (local.get $handle))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 0x70000)))))
    (func $step (param $op i32) (param $x i32) (param $y i32)
      (local $h i32)
      (global.set $next (i32.const 0xa0000))
      (block $done
      (block $op30
      (block $op29
      (block $op28
      (block $op27
      (block $op26
      (block $op25
      (block $op24
      (block $op23
      (block $op22
      (block $op21
      (block $op20
      (block $op19
      (block $op18
      (block $op17
      (block $op16
      (block $op15
      (block $op14
      (block $op13
      (block $op12
      (block $op11
      (block $op10
      (block $op9
      (block $op8
      (block $op7
      (block $op6
      (block $op5
      (block $op4
      (block $op3
      (block $op2
      (block $op1
      (block $op0
        (br_table $op0 $op1 $op2 $op3 $op4 $op5 $op6 $op7 $op8 $op9 $op10 $op11 $op12 $op13 $op14 $op15 $op16 $op17 $op18 $op19 $op20 $op21 $op22 $op23 $op24 $op25 $op26 $op27 $op28 $op29 $op30 $done (i32.rem_u (local.get $op) (i32.const 31))))
        ;; 0: an empty map of fields
        (call $keep (i32.const 0) (call $fields))
        (br $done))
        ;; 1: a map of x entries
        (call $from-list (i32.const 0x60000) (call $count (local.get $x) (local.get $y)) (i32.const 0x8100)) (br_if $done (i32.load8_u (i32.const 0x8100))) (call $keep (i32.const 0) (i32.load (i32.const 0x8104)))
        (br $done))
        ;; 2: a field of x bytes, appended
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 0) (local.get $y))))) (call $append (local.get $h) (i32.const 0x20000) (i32.const 5) (i32.const 0x20000) (call $text (local.get $x)) (i32.const 0x8100))
        (br $done))
        ;; 3: a name of x bytes, appended
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 0) (local.get $y))))) (call $append (local.get $h) (i32.const 0x20000) (call $text (local.get $x)) (i32.const 0x20000) (i32.const 1) (i32.const 0x8100))
        (br $done))
        ;; 4: a field of x values, set
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 0) (local.get $y))))) (call $set (local.get $h) (i32.const 0x20000) (i32.const 3) (i32.const 0x60000) (call $count (local.get $x) (local.get $y)) (i32.const 0x8100))
        (br $done))
        ;; 5: the entries of a map
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 0) (local.get $y))))) (call $entries (local.get $h) (i32.const 0x8100))
        (br $done))
        ;; 6: a map again
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 0) (local.get $y))))) (call $keep (i32.const 0) (call $clone (local.get $h)))
        (br $done))
        ;; 7: a request of a map
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 0) (local.get $y))))) (call $forget (i32.const 0) (local.get $y)) (call $keep (i32.const 1) (call $request (local.get $h)))
        (br $done))
        ;; 8: a method of x bytes
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 1) (local.get $y))))) (drop (call $set-method (local.get $h) (i32.const 9) (i32.const 0x20000) (call $text (local.get $x))))
        (br $done))
        ;; 9: a path of x bytes
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 1) (local.get $y))))) (drop (call $set-path (local.get $h) (i32.const 1) (i32.const 0x20000) (call $text (local.get $x))))
        (br $done))
        ;; 10: an authority of x bytes
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 1) (local.get $y))))) (drop (call $set-authority (local.get $h) (i32.const 1) (i32.const 0x20000) (call $text (local.get $x))))
        (br $done))
        ;; 11: a scheme of x bytes
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 1) (local.get $y))))) (drop (call $set-scheme (local.get $h) (i32.const 1) (i32.const 2) (i32.const 0x20000) (call $text (local.get $x))))
        (br $done))
        ;; 12: the body of a request
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 1) (local.get $y))))) (call $body (local.get $h) (i32.const 0x8100)) (br_if $done (i32.load8_u (i32.const 0x8100))) (call $keep (i32.const 2) (i32.load (i32.const 0x8104)))
        (br $done))
        ;; 13: the stream of a body
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 2) (local.get $y))))) (call $body-write (local.get $h) (i32.const 0x8100)) (br_if $done (i32.load8_u (i32.const 0x8100))) (call $keep (i32.const 3) (i32.load (i32.const 0x8104)))
        (br $done))
        ;; 14: x bytes, written
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 3) (local.get $y))))) (call $check-write (local.get $h) (i32.const 0x8100)) (br_if $done (i32.load8_u (i32.const 0x8100))) (br_if $done (i64.lt_u (i64.load (i32.const 0x8108)) (i64.extend_i32_u (call $text (local.get $x))))) (call $write (local.get $h) (i32.const 0x20000) (call $text (local.get $x)) (i32.const 0x8100))
        (br $done))
        ;; 15: x bytes, written without leave
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 3) (local.get $y))))) (call $write (local.get $h) (i32.const 0x20000) (call $text (local.get $x)) (i32.const 0x8100))
        (br $done))
        ;; 16: a stream, flushed
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 3) (local.get $y))))) (call $flush (local.get $h) (i32.const 0x8100))
        (br $done))
        ;; 17: a pollable of a stream
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 3) (local.get $y))))) (call $keep (i32.const 4) (call $subscribe (local.get $h)))
        (br $done))
        ;; 18: the standard output
        (call $keep (i32.const 3) (call $stdout))
        (br $done))
        ;; 19: a timer of x us
        (call $keep (i32.const 4) (call $timer (i64.mul (i64.extend_i32_u (local.get $x)) (i64.const 1000))))
        (br $done))
        ;; 20: a pollable, x times in one poll
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 4) (local.get $y))))) (call $describe-handles (local.get $h)) (call $poll (i32.const 0x60000) (call $count (local.get $x) (local.get $y)) (i32.const 0x8100))
        (br $done))
        ;; 21: whether a pollable is ready
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 4) (local.get $y))))) (drop (call $ready (local.get $h)))
        (br $done))
        ;; 22: x random bytes
        (call $random (i64.extend_i32_u (local.get $x)) (i32.const 0x8100))
        (br $done))
        ;; 23: the environment
        (call $environment (i32.const 0x8100))
        (br $done))
        ;; 24: memory for x pages
        (drop (memory.grow (i32.and (local.get $x) (i32.const 63))))
        (br $done))
        ;; 25: a list of texts of x bytes each
        (call $describe (call $text (local.get $x)))
        (br $done))
        ;; 26: a handle less: fields
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 0) (local.get $y))))) (call $forget (i32.const 0) (local.get $y)) (call $drop-fields (local.get $h))
        (br $done))
        ;; 27: a handle less: request
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 1) (local.get $y))))) (call $forget (i32.const 1) (local.get $y)) (call $drop-request (local.get $h))
        (br $done))
        ;; 28: a handle less: body
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 2) (local.get $y))))) (call $forget (i32.const 2) (local.get $y)) (call $drop-body (local.get $h))
        (br $done))
        ;; 29: a handle less: output
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 3) (local.get $y))))) (call $forget (i32.const 3) (local.get $y)) (call $drop-output (local.get $h))
        (br $done))
        ;; 30: a handle less: pollable
        (br_if $done (i32.eqz (local.tee $h (call $held (i32.const 4) (local.get $y))))) (call $forget (i32.const 4) (local.get $y)) (call $drop-pollable (local.get $h))
        (br $done))
    )
    (func (export "handle")
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
      (local $at i32) (local $end i32) (local $left i32)
      (if (i32.gt_u (local.get 15) (i32.const 0x4000)) (then (unreachable)))
      (memory.copy (i32.const 0x4000) (local.get 14) (local.get 15))
      (memory.fill (i32.const 0x20000) (i32.const 97) (i32.const 0x40000))
      (call $describe (i32.const 10))
      (local.set $at (i32.const 0x4000))
      (local.set $end (i32.add (local.get $at) (local.get 15)))
      (block $over
        (loop $instruction
          (br_if $over (i32.gt_u (i32.add (local.get $at) (i32.const 4)) (local.get $end)))
          (local.set $left (i32.shl (i32.const 1) (i32.and (i32.load8_u offset=1 (local.get $at)) (i32.const 15))))
          (loop $again
            (call $step (i32.load8_u (local.get $at)) (call $size (i32.load8_u offset=2 (local.get $at)))
              (i32.load8_u offset=3 (local.get $at)))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br $instruction)))
      (i32.store16 (i32.const 0x8000) (i32.const 200))
      (i32.const 0x8000))
    (func (export "post-return") (param i32)))
  (core instance $i (instantiate $core
    (with "m" (instance $m))
    (with "host" (instance
      (export "ready" (func $ready))
      (export "poll" (func $poll))
      (export "check-write" (func $check-write))
      (export "write" (func $write))
      (export "flush" (func $flush))
      (export "subscribe" (func $subscribe))
      (export "timer" (func $timer))
      (export "random" (func $random))
      (export "environment" (func $environment))
      (export "stdout" (func $stdout))
      (export "fields" (func $fields))
      (export "from-list" (func $from-list))
      (export "append" (func $append))
      (export "set" (func $set))
      (export "entries" (func $entries))
      (export "clone" (func $clone))
      (export "request" (func $request))
      (export "set-method" (func $set-method))
      (export "set-path" (func $set-path))
      (export "set-authority" (func $set-authority))
      (export "set-scheme" (func $set-scheme))
      (export "body" (func $body))
      (export "body-write" (func $body-write))
      (export "drop-fields" (func $drop-fields))
      (export "drop-request" (func $drop-request))
      (export "drop-body" (func $drop-body))
      (export "drop-output" (func $drop-output))
      (export "drop-pollable" (func $drop-pollable))
    ))))
  (type $field (record (field "name" string) (field "value" (list u8))))
  (type $param (record (field "name" string) (field "value" string)))
  (type $request (record (field "method" string) (field "scheme" string) (field "authority" string)
    (field "path-with-query" string) (field "route" string) (field "params" (list $param))
    (field "headers" (list $field)) (field "body" (list u8))))
  (type $response (record (field "status" u16) (field "headers" (list $field)) (field "body" (list u8))))
  (func $handle (param "request" $request) (result $response)
    (canon lift (core func $i "handle")
      (memory $memory) (realloc $realloc)
      (post-return (core func $i "post-return"))))
  (component $interface
    (type $field-r (record (field "name" string) (field "value" (list u8))))
    (import "type-field" (type $field (eq $field-r)))
    (type $param-r (record (field "name" string) (field "value" string)))
    (import "type-param" (type $param (eq $param-r)))
    (type $request-r (record (field "method" string) (field "scheme" string) (field "authority" string)
      (field "path-with-query" string) (field "route" string) (field "params" (list $param))
      (field "headers" (list $field)) (field "body" (list u8))))
    (import "type-request" (type $request (eq $request-r)))
    (type $response-r (record (field "status" u16) (field "headers" (list $field)) (field "body" (list u8))))
    (import "type-response" (type $response (eq $response-r)))
    (import "handle" (func $handle (param "request" $request) (result $response)))
    (type $field-a (record (field "name" string) (field "value" (list u8))))
    (export $field-named "field" (type $field-a))
    (type $param-a (record (field "name" string) (field "value" string)))
    (export $param-named "param" (type $param-a))
    (type $request-a (record (field "method" string) (field "scheme" string) (field "authority" string)
      (field "path-with-query" string) (field "route" string) (field "params" (list $param-named))
      (field "headers" (list $field-named)) (field "body" (list u8))))
    (export $request-named "request" (type $request-a))
    (type $response-a (record (field "status" u16) (field "headers" (list $field-named)) (field "body" (list u8))))
    (export $response-named "response" (type $response-a))
    (export "handle" (func $handle) (func (param "request" $request-named) (result $response-named))))
  (instance $http (instantiate $interface
    (with "type-field" (type $field)) (with "type-param" (type $param))
    (with "type-request" (type $request)) (with "type-response" (type $response))
    (with "handle" (func $handle))))
  (export "lacewing:function/http@0.1.0" (instance $http)))

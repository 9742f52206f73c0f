;; Calls poll_oneoff with pointers that lead out of its memory, with too many subscriptions, and exits with the sum of the errnos.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (call $poll_oneoff (i32.const 65500) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $poll_oneoff (i32.const -48) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $poll_oneoff (i32.const 0) (i32.const 65505) (i32.const 1) (i32.const 0))
    (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 65533))
    (call $poll_oneoff (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 0))
    (i32.add (i32.add (i32.add (i32.add))))
    (call $proc_exit)))

;; Exits with 7 in its start section.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (func $start (call $proc_exit (i32.const 7)))
  (start $start)
  (func (export "_start")))

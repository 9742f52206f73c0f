;; Imports two functions that nobody provides, and one that is provided.
(module
  (import "env" "first" (func))
  (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
  (import "wasi:http/requests" "second" (func (param v128)))
  (func (export "_start")))

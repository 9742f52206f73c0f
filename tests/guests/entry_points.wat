;; Exports all sorts of things, of which "good" and "other" can be entry points.
(module
  (memory (export "memory") 1)
  (global (export "global") i32 (i32.const 1))
  (func (export "good"))
  (func (export "other"))
  (func (export "with_parameter") (param i32))
  (func (export "with_result") (result i32) (i32.const 1))
  (func (export "with_vectors") (param v128) (result v128) (local.get 0)))

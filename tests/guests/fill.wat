;; Says "ready", fills 256 MiB with one instruction, and then computes for ever.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4097)
  (data (i32.const 0) "\08\00\00\00\06\00\00\00ready\n")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 0x10000000))
    (loop $again (br $again))))

"""WebAssembly by wasmtime: `executor` is the adapter, the others are its parts."""

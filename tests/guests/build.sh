#!/bin/sh
# Builds every guest of this folder. In any environment: pip install ziglang==0.17.1, then PYTHON=its/bin/python ./build.sh
set -eu
cd "$(dirname "$0")"
for source in *.c; do
    module="${source%.c}.wasm"
    "${PYTHON:-python3}" -m ziglang cc -target wasm32-wasi -Os -s -Wall -Wextra -Werror -Wl,-z,stack-size=65536 -o "$module" "$source"
    chmod 644 "$module"
done

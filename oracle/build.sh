#!/bin/sh
# oracle/build.sh src/in4310repro/report/check.wasm: compiles page.rs into this file, and writes beside it, into check.txt,
# the file's sha256, that of the sources, and the compiler. Needs Debian's rustc, libstd-rust-dev-wasm32 and lld.
set -eu
LC_ALL=C
file=$(realpath "$1")
cd "$(dirname "$0")"
# The linker's version does not matter (14 and 19 give the same bytes), nor do the paths.
rustc=${RUSTC:-rustc}
"$rustc" --edition 2021 --target wasm32-unknown-unknown --crate-type cdylib --crate-name check -D warnings \
    -C target-feature=+simd128 -C opt-level=3 -C panic=abort -C lto -C codegen-units=1 -C strip=symbols \
    -C linker=wasm-ld --remap-path-prefix "$PWD=oracle" -o "$file" page.rs
{
    echo "sha256 $(sha256sum < "$file" | cut -c -64)"
    echo "sources $(cat build.sh *.rs | sha256sum | cut -c -64)"
    "$rustc" --version
} > "${file%.wasm}.txt"

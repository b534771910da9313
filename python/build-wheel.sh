#!/bin/sh
# Builds the wheel into dist/: the extension, the Python package, and the tidemill program as a script.  Needs maturin (pip install maturin).
set -eu
here=$(dirname -- "$(readlink -f -- "$0")")
root=$(dirname -- "$here")
target=${CARGO_TARGET_DIR:-$root/target}
cargo build --release --quiet --manifest-path "$root/Cargo.toml" --target-dir "$target"
mkdir -p "$here/wheel-data/scripts"
cp "$target/release/tidemill" "$here/wheel-data/scripts/tidemill"
cd "$here"
CARGO_TARGET_DIR=$target ${MATURIN:-maturin} build --release --out "$root/dist" "$@"

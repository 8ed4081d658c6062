#!/usr/bin/env bash
# Builds a program of the workspace as one static binary, and proves that it is one.
# Must not need anything but the stable toolchain and its default target.
#
# usage: operator/build-static.sh OUT [PACKAGE]      (honours CARGO_TARGET_DIR)
set -euo pipefail

readonly TARGET=x86_64-unknown-linux-gnu
readonly SIZE_LIMIT_BYTES=$((25 * 1024 * 1024))

fail() {
  echo "build-static: $1" >&2
  exit 1
}

[[ $# -eq 1 || $# -eq 2 ]] || fail "usage: operator/build-static.sh OUT [PACKAGE]"
out=$(realpath -m -- "$1")
name=${2:-holdfast}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# With --target spelled out, RUSTFLAGS stay away from build scripts and procedural macros, which
# are loaded at run time and so cannot be static.
RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static" \
  cargo build --locked --release --package "$name" --bin "$name" --target "$TARGET"

built=${CARGO_TARGET_DIR:-target}/$TARGET/release/$name
headers=$(LC_ALL=C readelf --wide --program-headers --dynamic -- "$built")
grep -q 'INTERP' <<<"$headers" && fail "$built asks for a dynamic loader"
grep -q '(NEEDED)' <<<"$headers" && fail "$built needs shared libraries"
kind=$(LC_ALL=C file --brief -- "$built")
[[ $kind == *static* ]] || fail "$built is not static: $kind"
[[ $kind == *', stripped'* ]] || fail "$built is not stripped: $kind"
size=$(stat --format=%s -- "$built")
((size <= SIZE_LIMIT_BYTES)) || fail "$built has $size bytes, the limit is $SIZE_LIMIT_BYTES"

mkdir -p -- "$(dirname -- "$out")"
install -m 0755 -- "$built" "$out"
echo "$out: $size bytes, $kind"

#!/usr/bin/env bash
# Builds one package of the workspace as a static, stripped program: build-static.sh PACKAGE OUT
# Must need nothing but stable Rust with its default target: glibc itself is linked in.
set -euo pipefail
package=$1 out=$2
limit_bytes=$((25 * 1024 * 1024))
target=$(rustc -vV | sed -n 's/^host: //p')
cd "$(dirname "$0")/.."
# With --target, the flag reaches the program and not build scripts and macros, which must stay dynamic.
RUSTFLAGS="-C target-feature=+crt-static" \
  cargo build --locked --release --target "$target" --package "$package"
built=${CARGO_TARGET_DIR:-target}/$target/release/$package
if readelf --program-headers "$built" | grep -q INTERP || readelf --dynamic "$built" | grep -q NEEDED; then
  echo "$built is not static" >&2
  exit 1
fi
size=$(stat -c %s "$built")
if [ "$size" -gt "$limit_bytes" ]; then
  echo "$built has $size bytes, more than $limit_bytes" >&2
  exit 1
fi
install -D -m 0755 "$built" "$out"

#!/usr/bin/env bash
# Owns the one command that builds ground-kube.
# It must not start, install or clean up anything.
#
# usage: build.sh OUT
set -euo pipefail

out=$(realpath -m "${1:?usage: build.sh OUT}")
cd "$(dirname "${BASH_SOURCE[0]}")"

version=v1.36.3
stamp=k8s.io/component-base/version
flags=(
  -s -w
  -X "$stamp.gitVersion=$version"
  -X "$stamp.gitMajor=1"
  -X "$stamp.gitMinor=36"
  -X "$stamp.gitTreeState=clean"
)

mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "${flags[*]}" -o "$out" .

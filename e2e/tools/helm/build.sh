#!/usr/bin/env bash
# Owns the one command that builds helm, from the sources that go.mod names.
# It must not start, install or clean up anything.
#
# usage: build.sh OUT
set -euo pipefail

out=$(realpath -m "${1:?usage: build.sh OUT}")
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(go list -mod=readonly -m -f '{{.Version}}' helm.sh/helm/v4)
flags=(
  -s -w
  # Sources do not say which release they are.
  -X "helm.sh/helm/v4/internal/version.version=$version"
)

mkdir -p "$(dirname "$out")"
CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "${flags[*]}" \
  -o "$out" helm.sh/helm/v4/cmd/helm

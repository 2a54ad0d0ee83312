#!/bin/sh
# Builds the programs of the interop tests: ours, and the stock ones that go.mod pins. Prints the
# folder that has them. Nothing is written to the source tree: programs and Go's own caches live
# outside, so that the next run needs seconds. Exit status 77: they cannot be built here; the
# reason is on standard error.
set -eu

cd "$(dirname "$0")"
# What the pinned module asks for; Go fetches it like any module.
GOTOOLCHAIN=go1.27.3
GOFLAGS="-mod=readonly -buildvcs=false"
export GOTOOLCHAIN GOFLAGS

skip() {
	echo "$1" >&2
	exit 77
}

command -v go >/dev/null || skip "Go is not installed: the stock peers need $GOTOOLCHAIN"
go version >/dev/null 2>&1 || skip "$(GOTOOLCHAIN='' go version) cannot get $GOTOOLCHAIN"
bin=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/warren-interop/bin
mkdir -p "$bin"
go build -o "$bin/" ./coordinator ./tsnetnode \
	tailscale.com/cmd/tailscaled tailscale.com/cmd/tailscale >&2
echo "$bin"

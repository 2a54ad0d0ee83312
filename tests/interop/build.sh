#!/bin/sh
# Builds the programs of the interop tests: ours, and the stock ones that go.mod and the lock file
# of npm pin. Prints the
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
mkdir -p "$bin/old"
# With the way of a browser's client, which TS_DEBUG_DERP_WS_CLIENT takes.
go build -tags ts_debug_websockets -o "$bin/" ./derpclient >&2
go build -o "$bin/" ./coordinator ./crowd ./tsnetnode \
	tailscale.com/cmd/derper tailscale.com/cmd/tailscaled tailscale.com/cmd/tailscale >&2
# Its compiled SQLite wants all the memory that one job may have.
(cd headscale && if go mod download >&2; then
	go build -p 1 -o "$bin/" github.com/juanfont/headscale/cmd/headscale >&2
else
	rm -f "$bin/headscale"
	echo "Headscale cannot be fetched: its tests are skipped" >&2
fi)

# The provider of test_oidc.py; the tests that want it are skipped without it.
oidc=${bin%/bin}/oidc
if ! command -v npm >/dev/null; then
	echo "npm is not installed: no oidc-provider" >&2
elif ! cmp -s oidc/package-lock.json "$oidc/node_modules/.warren-lock"; then
	mkdir -p "$oidc"
	cp oidc/package.json oidc/package-lock.json "$oidc/"
	(cd "$oidc" && npm ci --ignore-scripts --no-audit --no-fund) >&2 &&
		cp oidc/package-lock.json "$oidc/node_modules/.warren-lock" ||
		echo "npm cannot get what package-lock.json pins: no oidc-provider" >&2
fi

# Daemon and command in one program, less what no test has a use for. Its JSON library is at odds
# with later tool chains.
(cd old && GOTOOLCHAIN=go1.26.8 && if go mod download >&2; then
	go build -tags ts_include_cli,ts_omit_aws,ts_omit_bird,ts_omit_completion,ts_omit_kube \
		-o "$bin/old/tailscaled" tailscale.com/cmd/tailscaled >&2
	ln -sf tailscaled "$bin/old/tailscale"
else
	rm -f "$bin/old/"*
	echo "the older stock client cannot be fetched: its tests are skipped" >&2
fi)
echo "$bin"

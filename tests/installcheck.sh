#!/bin/sh
# make installcheck: does with the installed Warren what somebody else would do who writes a plugin.
# Builds contrib/plugin-template through pkg-config, checks its configuration, and, as root, runs
# the daemon with it. The environment gives WARREN_SRCDIR, BINDIR, SBINDIR, PKGCONFIGDIR.
set -eu

work=$(mktemp -d "${TMPDIR:-/tmp}/warren-installcheck.XXXXXX")
pid=
clean_up() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || :
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

fail() {
	echo "installcheck: $*" >&2
	[ ! -f "$work/log" ] || tail -n 40 "$work/log" >&2
	exit 1
}

# The engine's user walks through this folder to load the plugin.
chmod 755 "$work"
cp -R "$WARREN_SRCDIR/contrib/plugin-template" "$work/template"
chmod -R u+w "$work/template"
cd "$work/template"
PKG_CONFIG_PATH=$PKGCONFIGDIR make ||
	fail "the plugin template does not build against the installed Warren"
[ -f hello.so ] || fail "the template's Makefile made no hello.so"
version=$(PKG_CONFIG_PATH=$PKGCONFIGDIR pkg-config --modversion warren)

if [ "$(id -u)" != 0 ]; then
	echo "installcheck: built against $version; not root, so it was not loaded"
	exit 0
fi
plugins="--plugin-dir $work/template"
# shellcheck disable=SC2086
"$BINDIR/warren" $plugins config check hello.yaml ||
	fail "config check refuses hello.yaml"

# As a user that every machine has; "warren" is made by whoever installs the package.
config=$work/warren.yaml
{ cat hello.yaml; echo 'system: {user: "65534:65534"}'; } >"$config"
# shellcheck disable=SC2086
"$SBINDIR/warrend" $plugins --config "$config" --state "$work/state" --socket "$work/sock" \
	>"$work/log" 2>&1 &
pid=$!
tries=0
until "$BINDIR/warren" --socket "$work/sock" plugins 2>/dev/null | grep -q hello; do
	tries=$((tries + 1))
	[ $tries -lt 100 ] || fail "the daemon does not list the plugin after 10 s"
	kill -0 "$pid" || fail "the daemon ended"
	sleep 0.1
done
kill "$pid"
wait "$pid" || fail "the daemon ended with status $?"
pid=
grep -qi hello "$work/log" || fail "the plugin wrote nothing to the log"
echo "installcheck: built against $version, loaded, ran, stopped"

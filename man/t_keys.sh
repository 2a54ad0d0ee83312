#!/bin/sh
# The index of keys and defaults in the repository is what the tables say. Sections of plugins that
# this build leaves out are not compared.
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
builddir=${WARREN_BUILDDIR:-.}
"$builddir/man/genman" "$builddir/plugins/.libs" keys >"$tmp/now" || exit 1
sed 's/[.:].*//' "$tmp/now" | sort -u >"$tmp/sections"
awk -F'[.:]' 'NR == FNR { here[$1] = 1; next } $1 in here' "$tmp/sections" \
	"$WARREN_SRCDIR/man/keys.txt" >"$tmp/kept"
if ! diff -u "$tmp/kept" "$tmp/now"; then
	echo "keys, types or defaults changed: if that is meant, run: make keys" >&2
	exit 1
fi

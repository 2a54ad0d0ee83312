#!/bin/sh
# The manual pages are clean mdoc.
command -v mandoc >/dev/null || { echo "no mandoc"; exit 77; }
rc=0
for page in warren.1 warren.yaml.5 warren-plugin.7 warrend.8; do
	file=${WARREN_BUILDDIR:-.}/man/$page
	[ -f "$file" ] || file=$WARREN_SRCDIR/man/$page
	mandoc -T lint -W warning "$file" || rc=1
	! grep -n '@[a-z]*@' "$file" || { echo "$page: a part is missing" >&2; rc=1; }
done
exit $rc

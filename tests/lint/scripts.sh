#!/bin/sh
# Our shell scripts, as shellcheck sees them.
cd "$WARREN_SRCDIR" || exit 99
command -v shellcheck >/dev/null || { echo "skipped: shellcheck is not installed"; exit 77; }
find contrib tests conf autogen.sh .ci -type f ! -path '*/corpus/*' |
	while read -r file; do
		case $(head -n 1 "$file" | tr -d '\0') in
		'#!/bin/sh'*|'#!/bin/bash'*|'# shellcheck'*) echo "$file" ;;
		esac
	done | sort | xargs shellcheck -x

#!/bin/sh
# The completion scripts: bash's is used as bash would use it, zsh's and fish's are parsed where
# these shells are installed. What `warren completion` prints is what is installed.
builddir=${WARREN_BUILDDIR:-.}
srcdir=${WARREN_SRCDIR:-.}
rc=0
tmp=$(mktemp -d) || exit 99
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 99
touch a-file.conf

for pair in bash:bash/warren zsh:zsh/_warren fish:fish/warren.fish; do
	"$builddir/warren" --socket "$tmp/none" completion "${pair%%:*}" |
		diff - "$srcdir/conf/completion/${pair#*:}" ||
		{ echo "warren completion ${pair%%:*} prints another script" >&2; rc=1; }
done

# candidates WORD...: the candidates for the last word, sorted, on one line
candidates() {
	bash -c '
		PATH=$1:$PATH
		. "$2"
		shift 2
		compopt() { echo "files"; }	# only allowed while bash itself completes
		COMP_WORDS=(warren "$@")
		COMP_CWORD=$#
		_warren
		printf "%s\n" "${COMPREPLY[@]}"
	' bash "$builddir" "$srcdir/conf/completion/bash/warren" "$@" | sort | xargs
}
# expect CANDIDATES WORD...
expect() {
	want=$1
	shift
	got=$(candidates "$@")
	[ "$got" = "$want" ] || { echo "$*: got \"$got\", not \"$want\"" >&2; rc=1; }
}
if command -v bash >/dev/null; then
	none="--socket $tmp/none"
	# shellcheck disable=SC2086
	{
	expect "config" $none con
	expect "check diff example schema show" $none config ""
	expect "check" $none config ch
	expect "--origin" $none config show --or
	expect "bash fish zsh" $none completion ""
	expect "" $none nonsense ""
	expect "files" --socket ""
	}
fi
if command -v zsh >/dev/null; then
	zsh -n "$srcdir/conf/completion/zsh/_warren" || rc=1
fi
if command -v fish >/dev/null; then
	fish --no-execute "$srcdir/conf/completion/fish/warren.fish" || rc=1
fi
exit $rc

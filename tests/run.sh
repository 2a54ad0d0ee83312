#!/bin/sh
# Runs one test program of `make check`. A fuzz target (fuzz_NAME) replays its corpus, which is the
# folder corpus/fuzz_NAME beside its source.
prog=$1
name=${prog##*/}
limit=${WARREN_TEST_SECONDS:-300}

case $name in
fuzz_*)
	rel=${prog#"$WARREN_BUILDDIR"/}
	corpus=$WARREN_SRCDIR/${rel%/*}/corpus/$name
	if [ ! -d "$corpus" ]; then
		echo "$name: no corpus folder $corpus" >&2
		exit 99
	fi
	if [ -n "$WARREN_FUZZING" ]; then
		set -- "$prog" -runs=0 "$corpus"
	else
		set -- "$prog" "$corpus"
	fi
	;;
esac
timeout "$limit" "$@"
rc=$?
[ $rc -ne 124 ] || echo "$name: still running after $limit seconds" >&2
exit $rc

#!/bin/sh
# The whole test run, from a bare Debian 12: installs the packages that are missing, builds a copy
# of this tree in every way that matters and runs all suites.
#
#	contrib/check.sh [SUITE...]	gcc asan tsan builtin install dist lab lab-tsan interop
#					interop-asan
#
# Each suite prints its minutes and counts, each skipped one a line with the reason, a failing one
# the end of its log. The last line is the sum; the exit status is 1 if anything failed. Everything
# happens below one temporary folder; KEEP=1 leaves it there.
set -u

src=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=contrib/packages.sh
. "$src/contrib/packages.sh"
# Debian's own Python has the modules that were installed as packages.
PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
export PATH
suites=${*:-gcc asan tsan builtin install dist lab lab-tsan interop interop-asan}
jobs=$(nproc)
sum_passed=0 sum_failed=0 sum_skipped=0
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo

work=$(mktemp -d "${TMPDIR:-/var/tmp}/warren-check.XXXXXX") || exit 1
chmod 755 "$work"
clean_up() {
	[ -z "${KEEP:-}" ] || { echo "kept: $work"; return; }
	# make distcheck makes its copy of the tree read-only; the lab may have run as root.
	chmod -R u+w "$work" 2>/dev/null
	rm -rf "$work" 2>/dev/null || $as_root rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# count PASSED FAILED SKIPPED
count() {
	passed=$((passed + $1))
	failed=$((failed + $2))
	skipped=$((skipped + $3))
}

# Tests in the log of a cmocka program, as PASSED FAILED SKIPPED; other programs count as one, $2.
count_program() {
	awk -v alone="$2" '
		/^\[  PASSED  \] [0-9]+ test/ { passed += $4; cmocka = 1 }
		/^\[  FAILED  \] [0-9]+ test/ { failed += $4; cmocka = 1 }
		/^\[  SKIPPED \] [0-9]+ test/ { skipped += $4; cmocka = 1 }
		END { print cmocka ? passed + 0 " " failed + 0 " " skipped + 0 : alone }
	' "$1"
}

# What automake's `make check` in folder $1 left.
count_make_check() {
	find "$1" -name '*.trs' | sort >"$work/tests"
	while read -r trs; do
		log=${trs%.trs}.log
		test=${log#"$1"/}
		case $(sed -n 's/^:test-result: //p' "$trs") in
		PASS)
			# shellcheck disable=SC2046
			count $(count_program "$log" "1 0 0")
			;;
		SKIP)
			count 0 0 1
			why=$(grep . "$log" | tail -n 2 | head -n 1)
			echo "skipped: ${test%.log}: $why"
			;;
		*)
			# A program that crashed after a good group of tests still failed.
			before=$failed
			# shellcheck disable=SC2046
			count $(count_program "$log" "0 1 0")
			[ "$failed" -gt "$before" ] || count 0 1 0
			echo "FAILED: ${test%.log}"
			tail -n 60 "$log"
			;;
		esac
	done <"$work/tests"
}

# What pytest left in $1, a junit file.
count_pytest() {
	[ -f "$1" ] || return 0
	python3 - "$1" >"$work/counts" <<-'END'
		import collections, sys, xml.etree.ElementTree as tree
		total, reasons = collections.Counter(), collections.Counter()
		for case in tree.parse(sys.argv[1]).iter("testcase"):
		    kinds = {child.tag for child in case}
		    total["failed" if kinds & {"failure", "error"} else
		          "skipped" if "skipped" in kinds else "passed"] += 1
		    for child in case.iter("skipped"):
		        reasons[child.get("message", "no reason given")] += 1
		print(total["passed"], total["failed"], total["skipped"])
		for reason, number in reasons.items():
		    print(f"skipped: {number} cells: {reason}")
	END
	# shellcheck disable=SC2046
	count $(head -n 1 "$work/counts")
	sed 1d "$work/counts"
}

# suite NAME FUNCTION: runs FUNCTION with its output in a log, in a shell of its own. What fails
# without a failed test being counted (a compiler error, say) is one failure.
suite() {
	case " $suites " in
	*" $1 "*) ;;
	*) return 0 ;;
	esac
	began=$(date +%s)
	passed=0 failed=0 skipped=0
	echo "== $1"
	(set -e; "$2") >"$work/$1.log" 2>&1
	status=$?
	[ ! -f "$work/$1.skip" ] || { count 0 0 1; echo "skipped: $1: $(cat "$work/$1.skip")"; }
	if [ -d "$work/$1/counted" ]; then
		count_make_check "$work/$1"
	elif [ -f "$work/$1.xml" ]; then
		count_pytest "$work/$1.xml"
	elif [ $status = 0 ] && [ ! -f "$work/$1.skip" ]; then
		count 1 0 0
	fi
	if [ $status != 0 ] && { [ $failed = 0 ] || [ -f "$work/$1.xml" ]; }; then
		[ $failed != 0 ] || count 0 1 0
		echo "FAILED: $1, the end of its log:"
		tail -n 150 "$work/$1.log"
	fi
	seconds=$(($(date +%s) - began))
	echo "$1: $((seconds / 60)):$(printf %02d $((seconds % 60))) min," \
		"$passed passed, $failed failed, $skipped skipped"
	sum_passed=$((sum_passed + passed))
	sum_failed=$((sum_failed + failed))
	sum_skipped=$((sum_skipped + skipped))
}

# skip SUITE WHY: for the functions below.
skip() {
	echo "$2" >"$work/$1.skip"
}

# build NAME COMPILER OPTION...: configures and builds in $work/NAME.
build() {
	mkdir "$work/$1"
	cd "$work/$1"
	compiler=$2
	shift 2
	if command -v ccache >/dev/null; then
		compiler="ccache $compiler"
	fi
	"$work/src/configure" -q CC="$compiler" --enable-werror "$@"
	make -j"$jobs"
}

# build_installable NAME COMPILER OPTION...: below $work/NAME-tree.
build_installable() {
	tree=$work/$1-tree
	build "$@" --prefix="$tree/usr" --sysconfdir="$tree/etc" --localstatedir="$tree/var"
}

suite_gcc() {
	build_installable gcc gcc
	mkdir counted
	make -j"$jobs" check
}

suite_asan() {
	build_installable asan clang --enable-sanitizers=address,undefined
	mkdir counted
	make -j"$jobs" check
}

suite_tsan() {
	build_installable tsan clang --enable-sanitizers=thread
	mkdir counted
	make -j"$jobs" check-threads
	[ -n "$(find . -name '*.trs')" ] || skip tsan "no test is named in THREADED_TESTS"
}

# Every plugin linked into libwarren; and none at all.
suite_builtin() {
	plugins=$(sed -n 's/^WARREN_PLUGIN(\[\([^]]*\)\].*/\1/p' "$work/src/configure.ac")
	for how in builtin no; do
		options=
		for plugin in $plugins; do
			options="$options --with-plugin-$plugin=$how"
		done
		# shellcheck disable=SC2086
		build "builtin-$how" gcc $options
	done
	cd "$work/builtin-builtin"
	make -j"$jobs" check
}

suite_install() {
	cd "$work/gcc"
	make install
	$as_root env PATH="$PATH" make installcheck
}

suite_dist() {
	cd "$work/gcc"
	make -j"$jobs" distcheck VERBOSE=1
	# What is in the repository is in the tarball.
	[ -f "$work/in-tree" ] || return 0
	tar -tf warren-*.tar.xz | sed 's,^[^/]*/,,' | sort >"$work/in-tarball"
	comm -23 "$work/in-tree" "$work/in-tarball" | grep -v '\.gitignore$' >"$work/missing" || :
	[ ! -s "$work/missing" ] || { echo "not in EXTRA_DIST:"; cat "$work/missing"; return 1; }
}

suite_lab() {
	cd "$work/gcc"
	make install unpacked
	$as_root env PATH="$PATH" make check-lab SIDE_BY_SIDE=3 JUNIT="$work/lab.xml"
}

# The data plane, path selection and the relay in daemons built with TSan: a report fails the cell.
suite_lab_tsan() {
	cd "$work/tsan"
	make install
	$as_root env PATH="$PATH" make check-lab SIDE_BY_SIDE=3 JUNIT="$work/lab-tsan.xml" \
		CELLS="test_nat or test_mtu or test_uplinks or test_stun or test_portmap"
}

# interop SUITE BUILD: the Go programs are built by the user whose caches are warm, not by root.
interop() {
	status=0
	bin=$("$work/src/tests/interop/build.sh" 2>"$work/interop-build.log") || status=$?
	cat "$work/interop-build.log"
	if [ $status = 77 ]; then
		skip "$1" "$(tail -n 1 "$work/interop-build.log")"
		return
	fi
	[ $status = 0 ] || return $status
	cd "$work/$2"
	make install unpacked
	$as_root env PATH="$PATH" INTEROP_BIN="$bin" \
		make check-interop SIDE_BY_SIDE=3 JUNIT="$work/$1.xml"
}

suite_interop() {
	interop interop gcc
}

# The same with ASan and UBSan: what they report fails the cell.
suite_interop_asan() {
	interop interop-asan asan
}

# A copy, so that an already configured tree does not matter and nothing is left in it.
copy_source() {
	mkdir "$work/src"
	cd "$src"
	if git -c safe.directory="$src" rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git -c safe.directory="$src" ls-files | sort >"$work/in-tree"
		git -c safe.directory="$src" ls-files -z --cached --others --exclude-standard |
			tar -cf - --null --ignore-failed-read --files-from=- 2>/dev/null
	else
		tar -cf - .
	fi | tar -xf - -C "$work/src"
	cd "$work/src" && ./autogen.sh
}

echo "== packages"
# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES $DEMO_PACKAGES $TEST_PACKAGES ||
	{ echo "FAILED: the packages could not be installed"; sum_failed=1; }
copy_source >"$work/autogen.log" 2>&1 ||
	{ tail -n 20 "$work/autogen.log"; sum_failed=$((sum_failed + 1)); }

suite gcc suite_gcc
suite asan suite_asan
suite tsan suite_tsan
suite builtin suite_builtin
suite install suite_install
suite dist suite_dist
suite lab suite_lab
suite lab-tsan suite_lab_tsan
suite interop suite_interop
suite interop-asan suite_interop_asan

echo "$sum_passed passed, $sum_failed failed, $sum_skipped skipped"
[ $sum_failed = 0 ]

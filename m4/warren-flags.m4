# WARREN_CC_FLAGS([VAR],[FLAGS]): appends to VAR those of FLAGS that the compiler takes and can
# link with. Tried one by one, together with the user's CFLAGS, warnings being errors: what the
# compiler only tolerates with a complaint does not count.
AC_DEFUN([WARREN_CC_FLAGS],[
for warren_flag in m4_normalize([$2]); do
	AC_MSG_CHECKING([whether $CC accepts $warren_flag])
	warren_saved_cflags=$CFLAGS
	CFLAGS="$CFLAGS -Werror $warren_flag"
	AC_LINK_IFELSE([AC_LANG_PROGRAM()],
		[AC_MSG_RESULT([yes]); $1="$$1 $warren_flag"],
		[AC_MSG_RESULT([no])])
	CFLAGS=$warren_saved_cflags
done
])

# --enable-sanitizers=address,undefined or =thread: SAN_CFLAGS, SAN_LDFLAGS.
AC_DEFUN([WARREN_SANITIZERS],[
AC_ARG_ENABLE([sanitizers],
	[AS_HELP_STRING([--enable-sanitizers=LIST],
		[build all with these, e.g. address,undefined or thread])],
	[AS_CASE([$enableval],
		[yes],[enable_sanitizers=address,undefined],
		[*address*thread*|*thread*address*],
			[AC_MSG_ERROR([address and thread sanitizer exclude each other])])],
	[enable_sanitizers=no])
])

# --enable-fuzzing: the fuzz targets link libFuzzer instead of the replay program.
AC_DEFUN([WARREN_FUZZING],[
AC_ARG_ENABLE([fuzzing],
	[AS_HELP_STRING([--enable-fuzzing],[link fuzz targets with libFuzzer (needs clang)])],
	[],[enable_fuzzing=no])
FUZZ_ENGINE=
AS_IF([test "x$enable_fuzzing" != xno],[
	AS_CASE([$CC],[*clang*],[],[AC_MSG_ERROR([--enable-fuzzing needs CC=clang])])
	AS_IF([test "x$enable_sanitizers" = xno],[enable_sanitizers=address,undefined])
	FUZZ_ENGINE=-fsanitize=fuzzer])
AC_SUBST([FUZZ_ENGINE])
AM_CONDITIONAL([FUZZING],[test "x$enable_fuzzing" != xno])
])

# Flags for warnings, hardening, size and sanitizers: WARN_CFLAGS, HARDEN_CFLAGS, HARDEN_LDFLAGS,
# SIZE_CFLAGS, SIZE_LDFLAGS, HOT_CFLAGS, SAN_CFLAGS, SAN_LDFLAGS, DEFS_LDFLAGS. --enable-werror
# is for check.sh, not for people with newer compilers.
AC_DEFUN([WARREN_COMPILER_FLAGS],[
AC_ARG_ENABLE([werror],[AS_HELP_STRING([--enable-werror],[warnings are errors])],
	[],[enable_werror=no])

WARREN_CC_FLAGS([WARN_CFLAGS],[-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
	-Wundef -Wvla -Wformat=2 -Wimplicit-fallthrough -Wpointer-arith -Wwrite-strings])
AS_IF([test "x$enable_werror" = xyes],[WARN_CFLAGS="$WARN_CFLAGS -Werror"])

WARREN_CC_FLAGS([HARDEN_CFLAGS],[-fstack-protector-strong -fstack-clash-protection])
WARREN_CC_FLAGS([HARDEN_LDFLAGS],[-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack])

SAN_CFLAGS= SAN_LDFLAGS= DEFS_LDFLAGS=-Wl,-z,defs
AS_IF([test "x$enable_sanitizers" != xno],[
	SAN_CFLAGS="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all"
	SAN_CFLAGS="$SAN_CFLAGS -fno-omit-frame-pointer -g -O1"
	AS_IF([test "x$enable_fuzzing" != xno],[SAN_CFLAGS="$SAN_CFLAGS -fsanitize=fuzzer-no-link"])
	SAN_LDFLAGS="-fsanitize=$enable_sanitizers"
	# clang links its sanitizer run time into the executable only: a module lacks those symbols.
	AS_CASE([$CC],[*clang*],[DEFS_LDFLAGS=])
],[
	# Fortification hides overflows from the sanitizers, and wants an optimising compiler.
	WARREN_CC_FLAGS([HARDEN_CFLAGS],[-D_FORTIFY_SOURCE=2])
	# Size: helpers that a module links and does not call, tables for C++ exceptions (debuggers
	# have their own). Code and constants stay on pages of their own: constants do not execute.
	WARREN_CC_FLAGS([SIZE_CFLAGS],[-ffunction-sections -fdata-sections
		-fno-asynchronous-unwind-tables])
	WARREN_CC_FLAGS([SIZE_LDFLAGS],[-Wl,--gc-sections
		-Wl,-z,pack-relative-relocs -Wl,--hash-style=gnu])
	# Small where nothing is measured in nanoseconds; the packet path is built for speed.
	AS_CASE([" $CFLAGS"],[*" -O"*],[],[SIZE_CFLAGS="$SIZE_CFLAGS -Os" HOT_CFLAGS=-O2])
])
AC_SUBST([HOT_CFLAGS])
AC_SUBST([WARN_CFLAGS])
AC_SUBST([HARDEN_CFLAGS])
AC_SUBST([HARDEN_LDFLAGS])
AC_SUBST([SIZE_CFLAGS])
AC_SUBST([SIZE_LDFLAGS])
AC_SUBST([enable_sanitizers])
AC_SUBST([SAN_CFLAGS])
AC_SUBST([SAN_LDFLAGS])
AC_SUBST([DEFS_LDFLAGS])
])

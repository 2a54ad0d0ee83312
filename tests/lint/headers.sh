#!/bin/sh
# Each header compiles alone: internal ones as we compile, public ones as strict C17 and C++20.
cd "$WARREN_SRCDIR" || exit 99
CC=${CC:-cc}
CXX=${CXX:-c++}
rc=0

internal=$(find core plugins tests -name '*.h' ! -path 'core/include/*' | sort)
public=$(find core/include -name '*.h' | sort)

for header in $internal; do
	$CC -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-function -Werror \
		-fsyntax-only -Icore/include -Icore "$header" || rc=1
done
for header in $public; do
	$CC -std=c17 -pedantic -Wall -Wextra -Werror -fsyntax-only -Icore/include "$header" || rc=1
done
if command -v "${CXX%% *}" >/dev/null; then
	for header in $public; do
		# As an include: a header as main file is no valid input for every C++ compiler.
		echo "#include \"$header\"" | $CXX -std=c++20 -Wall -Wextra -Werror \
			-fsyntax-only -Icore/include -I. -x c++ - || rc=1
	done
else
	echo "no C++ compiler: public headers checked as C only"
fi
exit $rc

# WARREN_PLUGIN([NAME],[DEFAULT],[PKG-CONFIG MODULES],[net])
#
# Gives --with-plugin-NAME=module|builtin|no, the automake conditionals PLUGIN_NAME_MODULE and
# PLUGIN_NAME_BUILTIN for plugins/NAME/NAME.am, and, if the plugin needs libraries of its own,
# NAME_CFLAGS and NAME_LIBS. A dash in NAME is an underscore in all but the option. Builtins also
# get a row in core/engine/builtins.c, and, where they say "net", bring the network toolkit along:
# once, however many they are (BUILTIN_NET, core/net/net.am).
AC_DEFUN([WARREN_PLUGIN],[dnl
m4_pushdef([id],m4_translit([$1],[-],[_]))dnl
AC_ARG_WITH([plugin-$1],
	[AS_HELP_STRING([--with-plugin-$1=HOW],[module, builtin or no (default: $2)])],
	[],[with_plugin_[]id=$2])
AS_CASE([$with_plugin_[]id],
	[yes],[with_plugin_[]id=module],
	[module|builtin|no],[],
	[AC_MSG_ERROR([--with-plugin-$1=$with_plugin_[]id: it is module, builtin or no])])
m4_ifnblank([$3],[AS_IF([test "x$with_plugin_[]id" != xno],[PKG_CHECK_MODULES(id,[$3])])])
AM_CONDITIONAL([PLUGIN_]id[_MODULE],[test "x$with_plugin_]id[" = xmodule])
AM_CONDITIONAL([PLUGIN_]id[_BUILTIN],[test "x$with_plugin_]id[" = xbuiltin])
AS_IF([test "x$with_plugin_[]id" = xbuiltin],[
	WARREN_BUILTIN_DECLS="${WARREN_BUILTIN_DECLS}dnl
extern const struct warren_plugin warren_plugin_[]id;
"
	WARREN_BUILTIN_ROWS="${WARREN_BUILTIN_ROWS}	&warren_plugin_[]id,
"])
m4_ifnblank([$4],[AS_IF([test "x$with_plugin_[]id" = xbuiltin],[warren_builtin_net=yes])])
warren_plugins="$warren_plugins $1=$with_plugin_[]id"
m4_popdef([id])dnl
])

# After the last plugin: the rows for core/engine/builtins.c.in.
AC_DEFUN([WARREN_PLUGINS_DONE],[
AM_CONDITIONAL([BUILTIN_NET],[test "x$warren_builtin_net" = xyes])
AC_SUBST([WARREN_BUILTIN_DECLS])
AC_SUBST([WARREN_BUILTIN_ROWS])
AM_SUBST_NOTMAKE([WARREN_BUILTIN_DECLS])
AM_SUBST_NOTMAKE([WARREN_BUILTIN_ROWS])
])

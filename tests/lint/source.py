"""Rules for source text: banned calls, who may include libevent, lengths of lines and functions."""

import pathlib
import re
import sys

from lint import SRC, code_only, report, tracked

BANNED = {
    "strcpy": "snprintf or a bounded buffer", "strcat": "snprintf or a bounded buffer",
    "sprintf": "snprintf, result tested", "vsprintf": "vsnprintf, result tested",
    "strncat": "snprintf", "gets": "fgets", "strtok": "strsep or an own loop",
    "atoi": "the parsers of core/base/str.h", "atol": "the parsers of core/base/str.h",
    "atoll": "the parsers of core/base/str.h", "atof": "the parsers of core/base/str.h",
    "alloca": "a fixed buffer or the heap", "system": "an operation of the monitor",
    "popen": "an operation of the monitor", "tmpnam": "mkostemp", "mktemp": "mkostemp",
}
# A plugin gets descriptors from the core, and threads and process-wide state belong to the core.
BANNED_IN_PLUGINS = {
    **dict.fromkeys(("open", "openat", "fopen", "creat", "opendir"),
                    "warren_conf_open_wait or warren_state_read"),
    **dict.fromkeys(("socket", "connect", "bind", "listen", "socketpair"),
                    "operation SOCKET"),
    **dict.fromkeys(("fork", "vfork", "execl", "execlp", "execle", "execv", "execvp", "execve",
                     "execvpe", "posix_spawn"), "an operation of the monitor"),
    "getaddrinfo": "warren_resolve", "gethostbyname": "warren_resolve",
    **dict.fromkeys(("pthread_create", "thrd_create"), "warren_work, or a lane"),
    **dict.fromkeys(("signal", "sigaction", "setlocale", "umask", "chdir", "atexit", "setenv",
                     "dlopen", "exit", "_exit"), "nothing: this belongs to the core"),
}
MAX_COLUMNS, MAX_LINES, MAX_FUNCTION = 100, 900, 60


def calls(names):
    return re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")


def allowed_calls():
    lines = (SRC / "tests/lint/plugin-calls-allowed").read_text().splitlines()
    return {tuple(line.split()) for line in lines if line and not line.startswith("#")}


def check_c(path, text, allowed):
    code = code_only(text)
    plugin = path.startswith("plugins/") and "/tests/" not in path
    for number, line in enumerate(code.splitlines(), 1):
        for match in calls(BANNED).finditer(line):
            yield f"{path}:{number}: {match[1]}: use {BANNED[match[1]]}"
        for match in calls(BANNED_IN_PLUGINS).finditer(line) if plugin else ():
            if (path, match[1]) not in allowed:
                yield (f"{path}:{number}: {match[1]} in a plugin: use "
                       f"{BANNED_IN_PLUGINS[match[1]]}")
        if re.match(r"\s*#\s*include\s*<event2?/", line):
            if not path.startswith(("core/engine/", "core/net/", "tests/")):
                yield f"{path}:{number}: libevent is included in core/engine and core/net only"
    if len(code.splitlines()) > MAX_LINES:
        yield f"{path}: longer than {MAX_LINES} lines: a file has one subject"


def check_functions(path, text):
    start = None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start - 1 > MAX_FUNCTION:
                yield f"{path}:{start}: a function of {number - start - 1} lines fits no screen"
            start = None


def check_text(path, text):
    for number, line in enumerate(text.splitlines(), 1):
        if len(line.expandtabs(8)) > MAX_COLUMNS:
            yield f"{path}:{number}: longer than {MAX_COLUMNS} columns"
        if line != line.rstrip():
            yield f"{path}:{number}: white space at the end of the line"
        if re.search(r"\b(TODO|FIXME|XXX)\b", line) and path != "tests/lint/source.py":
            yield f"{path}:{number}: unfinished: say it in an issue"


def main():
    findings, allowed = [], allowed_calls()
    for path in tracked(".c", ".h", ".in", ".py", ".sh", ".am", ".ac", ".m4"):
        text = (SRC / path).read_text(encoding="utf-8")
        findings += check_text(path, text)
        if pathlib.PurePath(path).suffix in (".c", ".h"):
            findings += check_c(path, text, allowed)
            findings += check_functions(path, text)
    for path, call in sorted(allowed):
        if not (SRC / path).exists():
            findings.append(f"tests/lint/plugin-calls-allowed: {path} {call}: no such file")
    return report(findings)


sys.exit(main())

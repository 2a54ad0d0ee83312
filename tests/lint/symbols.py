"""Binaries keep their promises: exported symbols, imports of plugins, libraries they pull in."""

import os
import re
import subprocess
import sys

from lint import BUILD, SRC, code_only, report, tracked

LIB = BUILD / ".libs/libwarren.so"
NET_LIB = BUILD / ".libs/libwarren-net.so"
NET_HEADERS = tuple(f"core/include/warren/{name}.h"
                    for name in ("acme", "derp", "disco", "net", "stun"))
SANITIZED = os.environ.get("WARREN_SANITIZERS", "no") != "no"


def run(*command):
    env = {**os.environ, "LD_LIBRARY_PATH": str(BUILD / ".libs"), "LC_ALL": "C"}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


def symbols(path, *flags):
    return {line.split()[-1] for line in run("nm", "-D", *flags, str(path)).splitlines() if line}


def declared(wanted):
    """Functions that those public headers declare."""
    names = set()
    for path in filter(wanted, tracked(".h")):
        if not path.startswith("core/include/"):
            continue
        text = re.sub(r"(\\\n|[^\n])*", lambda m: "" if m[0].lstrip().startswith("#") else m[0],
                      code_only((SRC / path).read_text()))
        text = re.sub(r'extern ""\s*{', "", text)
        depth, top = 0, ""
        for char in text:
            depth += (char == "{") - (char == "}")
            top += char if depth == 0 else " "
        for statement in top.split(";"):
            match = re.match(r"(?!\s*typedef)[\w\s*}]*?\b(warren_\w+)\s*\(", statement)
            if match:
                names.add(match[1])
    return names


def check_library():
    exported = symbols(LIB, "--defined-only")
    public = {name.split("@")[0] for name in exported if name.endswith("@@WARREN_0.1")}
    private = {name for name in exported if name.endswith("@@WARREN_PRIVATE")}
    public -= {"WARREN_0.1"} | {name for name in public if name.startswith("warren_plugin_")}
    names = declared(lambda path: path not in NET_HEADERS)
    toolkit = declared(lambda path: path in NET_HEADERS)
    # A builtin plugin that uses the network toolkit brings the whole of it.
    names |= toolkit if toolkit & public else set()
    for name in sorted(names - public):
        yield f"libwarren: {name} is declared in a public header and not exported"
    for name in sorted(public - names):
        yield f"libwarren: {name} is exported and in no public header"
    rest = {name for name in exported if "@@" in name} - private
    for name in sorted(rest - {f"{n}@@WARREN_0.1" for n in public}):
        if not name.startswith("warren_plugin_"):
            yield f"libwarren: {name} is exported: see core/libwarren.map"


def check_net_library():
    exported = {name.split("@")[0] for name in symbols(NET_LIB, "--defined-only")}
    exported -= {"WARREN_NET_0.1"}
    for name in sorted(exported ^ declared(lambda path: path in NET_HEADERS)):
        yield f"libwarren-net: {name} is not both exported and in one of its headers"


def init_array_entries(path):
    size = word = 0
    for line in run("readelf", "-SW", str(path)).splitlines():
        match = re.search(r"\.init_array\s+INIT_ARRAY\s+(\S+) \S+ (\S+)", line)
        if match:
            word, size = len(match[1]) // 2, int(match[2], 16)
    return size // word if word else 0


def check_plugin(path):
    exported = symbols(path, "--defined-only")
    if {name.split("@")[0] for name in exported} != {"warren_plugin_entry"}:
        yield f"{path.name}: exports {', '.join(sorted(exported))}; only warren_plugin_entry may"
    for name in sorted(symbols(path, "--undefined-only")):
        if "wcore_" in name or "WARREN_PRIVATE" in name:
            yield f"{path.name}: imports {name}, which is private to the core"
    # The sanitizers register themselves by constructors.
    if not SANITIZED and init_array_entries(path) > 1:
        yield f"{path.name}: has a constructor: looking at a plugin must not run it"


def check_libraries(path):
    for name in re.findall(r"^\s*(lib(?:mnl|nftnl)\S*)", run("ldd", str(path)), re.M):
        yield f"{path.name}: links {name}; only the monitor does, for licence and for privilege"


def main():
    findings = [*check_library(), *check_net_library()]
    plugins = sorted((BUILD / "plugins/.libs").glob("*.so"))
    for path in plugins:
        findings += check_plugin(path)
    for path in [LIB, NET_LIB, *plugins, BUILD / ".libs/warren-engine", BUILD / ".libs/warren"]:
        if path.exists():
            findings += check_libraries(path)
    if (BUILD / "warrend").exists() and "libwarren" in run("ldd", str(BUILD / "warrend")):
        findings.append("warrend: links libwarren: the monitor loads no engine code")
    return report(findings)


sys.exit(main())

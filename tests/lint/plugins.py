"""Every plugin folder is listed, tested and explained; every public header is installed."""

import re
import sys

from lint import SRC, report, tracked


def listed(path, pattern):
    return re.findall(pattern, (SRC / path).read_text(), re.M)


def check_lists(folders):
    lists = {
        "configure.ac": listed("configure.ac", r"^WARREN_PLUGIN\(\[([\w-]+)\]"),
        "plugins/plugins.am": listed("plugins/plugins.am", r"^include plugins/([\w-]+)/"),
    }
    for name, entries in lists.items():
        for plugin in sorted(set(folders) ^ set(entries)):
            yield f"{name}: {plugin}: folder and list differ"
        if entries != sorted(entries):
            yield f"{name}: plugins are not sorted"


def check_folder(name):
    folder = SRC / "plugins" / name
    fragment = (folder / f"{name}.am").read_text()
    if not (folder / "plugin.c").exists():
        yield f"plugins/{name}: no plugin.c"
    if not (folder / "README.md").exists():
        yield f"plugins/{name}: no README.md"
    elif "on reload" not in (folder / "README.md").read_text().lower():
        yield f"plugins/{name}/README.md: no table \"on reload\""
    tests = sorted(folder.glob("tests/t_*.c"))
    if not tests:
        yield f"plugins/{name}: no tests/t_*.c"
    for path in tests + sorted(folder.glob("tests/fuzz_*.c")):
        if path.stem not in fragment:
            yield f"plugins/{name}/{name}.am: {path.name} is not built"


def check_headers():
    fragment = (SRC / "core/core.am").read_text()
    for path in tracked(".h"):
        if path.startswith("core/include/") and path not in fragment:
            yield f"core/core.am: {path} is not installed"


def check_core_tests():
    for folder in ("unit", "fuzz", "abi", "net"):
        fragment = (SRC / f"tests/{folder}/{folder}.am").read_text()
        for pattern in ("t_*.c", "fuzz_*.c"):
            for path in sorted((SRC / "tests" / folder).glob(pattern)):
                if not re.search(rf"\b{path.stem}\b", fragment):
                    yield f"tests/{folder}/{folder}.am: {path.name} is not built"


def main():
    folders = sorted(p.name for p in (SRC / "plugins").iterdir()
                     if p.is_dir() and not p.name.startswith("."))
    findings = [*check_lists(folders), *check_headers(), *check_core_tests()]
    for name in folders:
        findings += check_folder(name)
    return report(findings)


sys.exit(main())

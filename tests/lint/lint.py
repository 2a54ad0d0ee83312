"""What the lints share: where things are, which files count, how findings are told."""

import os
import pathlib
import re
import sys

SRC = pathlib.Path(os.environ.get("WARREN_SRCDIR", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("WARREN_BUILDDIR", SRC / "build"))
FOLDERS = ("core", "plugins", "tests", "contrib", "conf", "man", "m4")

TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.S)


def tracked(*suffixes):
    """Source files, relative to the top; not what is generated and not the corpora."""
    for top in FOLDERS:
        for path in sorted((SRC / top).rglob("*")):
            name = path.relative_to(SRC).as_posix()
            generated = path.with_name(path.name + ".in").exists() or "/corpus/" in name
            if path.suffix in suffixes and path.is_file() and not generated:
                if not re.match(r"m4/(libtool|lt)", name) and "__pycache__" not in name:
                    yield name


def code_only(text):
    """C text without comments and the insides of literals; line numbers stay."""
    def blank(match):
        token = match[0]
        if token[0] in "\"'":
            # An include path stays, it is code.
            return token if text[:match.start()].endswith("#include ") else token[0] * 2
        return "\n" * token.count("\n")
    return TOKEN.sub(blank, text)


def report(findings):
    for line in findings:
        print(line)
    print(f"{len(findings)} findings")
    return 1 if findings else 0


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)

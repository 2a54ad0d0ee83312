"""contrib/quickstart.sh from start to down, as a newcomer runs it."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

import lab as lablib

SRC = pathlib.Path(os.environ.get("WARREN_SRCDIR", pathlib.Path(__file__).parents[2]))
HOME = pathlib.Path("/opt/warren-quickstart")


def host_state():
    """Links, rules, routes, tables, and every file of /etc and /run by name, size and time."""
    def out(*argv):
        return lablib.run(*argv, check=False).stdout
    files = out("find", "/etc", "/run", "-path", "/run/netns/*", "-prune", "-o",
                "-type", "f", "-printf", "%p %s %t\n")
    return {
        "link": out("ip", "-o", "link"), "addr": out("ip", "-o", "addr"),
        "rule": out("ip", "rule") + out("ip", "-6", "rule"),
        "route": out("ip", "route", "show", "table", "all"),
        "nft": out("nft", "list", "ruleset"),
        "netns": [line for line in out("ip", "netns").splitlines() if line.startswith("wq-")],
        "files": sorted(line for line in files.splitlines() if "/etc/ld.so.cache" not in line),
        "opt": HOME.exists(),
    }


# It builds, and looks at what the host has afterwards.
@pytest.mark.alone
@pytest.mark.skipif(HOME.exists(), reason=f"{HOME} exists: a quickstart is running")
def test_quickstart_up_and_down(tmp_path):
    script = SRC / "contrib" / "quickstart.sh"
    env = {**os.environ, **({"CC": "ccache gcc"} if shutil.which("ccache") else {})}
    before = host_state()
    try:
        up = subprocess.run([script], text=True, env=env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=600, check=False)
        assert up.returncode == 0, up.stdout[-4000:]
        assert "Hello from gw-b, through WireGuard." in up.stdout
        assert "moved 1/1 files\nSent by gw-a." in up.stdout
        assert "via DERP(hq) in" in up.stdout, "first through the relay"
        assert re.search(r"via 192\.0\.2\.12:\d+ in", up.stdout), "then through both NATs"
        assert len(re.findall(r"active; direct 192\.0\.2\.1[12]:\d+", up.stdout)) == 2
        again = subprocess.run([script], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=60, check=False)
        assert again.returncode == 1 and "down" in again.stdout
    finally:
        down = subprocess.run([script, "down"], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=60, check=False)
    assert down.returncode == 0, down.stdout
    assert host_state() == before

"""Prints what a tailnet of simulated clients costs the coordinator: joins, changes, memory, idling.

The clients are one process on the same cores (tailnet_load.c), each with a Noise session and a map
stream of its own over a real socket; all see each other. Needs root. Judges nothing.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lab"))
from lab import Daemon, Lab  # noqa: E402

LOAD = pathlib.Path(os.environ["WARREN_BUILDDIR"]) / "tests/bench/tailnet_load"
PORT = 8080
YAML = f"""
coordinator: {{url: "http://127.0.0.1:{PORT}", listen: "127.0.0.1:{PORT}",
  base-domain: tail.example.com, policy: %s}}
"""


WIDE = '{"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}'
NARROW = '{"grants": [{"src": ["*"], "dst": ["100.64.0.1"], "ip": ["tcp:443"]}]}'


def row(what, value, note=""):
    print(f"coordinator: {what:<42} {value:>14}  {note}".rstrip(), flush=True)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


class Load:
    def __init__(self, lab, clients, at_a_time):
        self.policy = policy = lab.dir / "policy.hujson"
        self.edit(WIDE)
        host = lab.host(f"hq{clients}")
        self.daemon = Daemon(host, YAML % policy)
        self.daemon.cli("user", "create", "load")
        key = self.daemon.json("key", "create", "--user", "load", "--reusable")["secret"]
        server = self.daemon.status()["coordinator"]["key"]
        self.popen = subprocess.Popen(
            host.argv(LOAD, "127.0.0.1", str(PORT), server, key, str(clients), str(at_a_time)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.joined = self.line()
        self.pid = self.daemon.engine_pid()

    def line(self):
        line = self.popen.stdout.readline()
        assert line, "the load program ended"
        return json.loads(line)

    def change(self):
        self.popen.stdin.write("change\n")
        self.popen.stdin.flush()
        return self.line()

    def edit(self, text):
        fresh = self.policy.with_suffix(".new")
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self.policy)

    def slow(self):
        """What kept a lane for more than 5 ms so far."""
        return re.findall(r"held up lane `main` for (\d+) ms \((.*)\)", self.daemon.log())

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(30)
        self.daemon.stop()


def storm(lab):
    load = Load(lab, 500, 500)
    row("500 nodes join at once", f"{load.joined['seconds']:.2f} s",
        f"aim: 10 s; {load.joined['joined']} joined, {load.joined['failures']} failures")
    load.close()


def many(lab):
    load = Load(lab, 2000, 50)
    row("2,000 nodes join, 50 at a time", f"{load.joined['seconds']:.2f} s",
        f"{load.joined['joined']} joined, {load.joined['failures']} failures")
    time.sleep(15)      # what the joins left to be told
    worst, told = 0, []
    for _ in range(5):
        answer = load.change()
        worst = max(worst, answer["seconds"])
        told.append(answer["told"])
        time.sleep(1)
    row("a change of one reaches all of 2,000", f"{worst:.3f} s",
        f"aim: 1 s; the worst of 5, told: {min(told)}")
    row("resident memory with 2,000 nodes", f"{resident(load.pid):.0f} MiB", "aim: 120 MiB")
    before, begun = cpu_seconds(load.pid), time.monotonic()
    time.sleep(20)
    used = (cpu_seconds(load.pid) - before) / (time.monotonic() - begun) * 100
    row("CPU of a core while nothing happens", f"{used:.1f} %", "aim: 2 %")
    slow = len(load.slow())
    for what, text in (("one node, instead of all", NARROW), ("all again", WIDE)):
        before = cpu_seconds(load.pid)
        load.edit(text)
        time.sleep(15)
        late = load.slow()[slow:]
        slow += len(late)
        row(f"policy: everybody sees {what}", f"{cpu_seconds(load.pid) - before:.2f} s",
            "of CPU; callbacks of more than 5 ms: " +
            (", ".join(f"{ms} ms ({w})" for ms, w in late[:5]) or "none"))
    load.close()


def main():
    if os.geteuid() != 0 or not LOAD.exists():
        print("coordinator: skipped: needs root and tests/bench/tailnet_load")
        return
    for part in (storm, many):
        with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
            lab = Lab(directory)
            try:
                part(lab)
            finally:
                lab.close()


main()

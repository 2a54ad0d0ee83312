"""Prints what our relay forwards and what its clients cost, beside the stock relay in the same run;
and how long a node's loop keeps others waiting while it sends 100 Mb/s through a relay.

The clients are one process on the same cores (relay_load.c), over TLS, each with a key of its own.
CPU and memory are the relay's alone. Needs root, and what tests/interop needs (Go). Judges nothing.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
from derper import Derper  # noqa: E402
from interop import BIN, Tailnet  # noqa: E402
from lab import Daemon, Lab, wait_for  # noqa: E402
from nat import Internet  # noqa: E402

LOAD = pathlib.Path(os.environ["WARREN_BUILDDIR"]) / "tests/bench/relay_load"
SECONDS = float(os.environ.get("SECONDS_PER_RUN", "5"))
IDLE = 10000
# Pairs and bytes of a packet: one flow, as most are; many; and small packets.
FLOWS = ((1, 1280), (20, 1280), (20, 200))
OURS = "front: {tls: self-signed}\nrelay: {verify: anyone, stun-port: 0}\n"


def row(what, value, note=""):
    print(f"relay: {what:<48} {value:>14}  {note}".rstrip(), flush=True)


def cpu_seconds(pid):
    return sum(int(path.read_text().split()[0])
               for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


class Net(Tailnet):
    def begin(self):
        pass


class Load:
    def __init__(self, host, address, *what):
        self.popen = subprocess.Popen(host.argv(LOAD, address, "443", *map(str, what)),
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.joined = self.line()

    def line(self):
        line = self.popen.stdout.readline()
        assert line, "the load program ended"
        return json.loads(line)

    def run(self, seconds):
        self.popen.stdin.write(f"run {seconds}\n")
        self.popen.stdin.flush()
        return self.line()

    def close(self):
        self.popen.stdin.close()
        self.popen.wait(30)


def pid_on(host, port):
    """Of the process that listens there."""
    text = host.run("ss", "-ltnpH", f"sport = :{port}").stdout
    return int(text.split("pid=")[1].split(",")[0])


class Site:
    """Each relay on a host of its own, and the clients on a third."""

    def __init__(self, lab):
        net = Net(lab)
        hosts = {"stock": net.host("stock"), "ours": net.host("ours")}
        self.clients = net.host("clients")
        self.derper = Derper(net, hosts["stock"])
        self.daemon = Daemon(hosts["ours"], OURS)
        self.at = {name: host.ip4 for name, host in hosts.items()}
        self.pid = {"stock": pid_on(hosts["stock"], 443), "ours": self.daemon.engine_pid()}

    def flow(self, who, pairs, size):
        """MB forwarded per CPU second of the relay, MB per second of time, cores used."""
        load = Load(self.clients, self.at[who], "flow", pairs, size)
        load.run(1)             # as fast as it gets before it is measured
        before = cpu_seconds(self.pid[who])
        done = load.run(SECONDS)
        used = cpu_seconds(self.pid[who]) - before
        load.close()
        return done["bytes"] / used / 1e6, done["bytes"] / done["seconds"] / 1e6, (
            used / done["seconds"])

    def idle(self, who):
        before, cpu = resident(self.pid[who]), cpu_seconds(self.pid[who])
        load = Load(self.clients, self.at[who], "idle", IDLE)
        after, used = resident(self.pid[who]), cpu_seconds(self.pid[who]) - cpu
        load.close()
        return load.joined, after - before, used


def run(directory):
    lab = Lab(directory)
    try:
        site = Site(lab)
        for pairs, size in FLOWS:
            told = {who: site.flow(who, pairs, size) for who in ("stock", "ours")}
            row(f"{pairs} flow{'s' * (pairs > 1)} of {size} bytes",
                f"{told['ours'][0]:.0f} MB/CPU s",
                f"{told['ours'][0] / told['stock'][0]:.2f} of the stock relay; MB in a second: "
                f"{told['ours'][1]:.0f} with {told['ours'][2]:.2f} cores, stock "
                f"{told['stock'][1]:.0f} with {told['stock'][2]:.2f}")
        for who, note in (("ours", "aim: 200; "), ("stock", "the stock relay; ")):
            joined, memory, used = site.idle(who)
            row(f"memory of {joined['up']} idle clients", f"{memory:.0f} MiB",
                f"{note}{joined['up'] / memory:.0f} in a MiB; a login {used / IDLE * 1e3:.2f} ms "
                f"of CPU; {joined['failures']} failures")
    finally:
        lab.close()


def waits(node, seconds):
    """How long each of many small requests waited for the loop of that daemon, in ms, sorted."""
    told, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(node.socket))
            sock.sendall(b'{"argv":["version"],"format":"json"}\n')
            while b'"end"' not in sock.recv(65536):
                pass
        told.append((time.monotonic() - began) * 1e3)
        time.sleep(0.002)
    return sorted(told)


def describe(told):
    return (f"{told[len(told) // 2]:.2f}, {told[len(told) * 99 // 100]:.2f}, "
            f"{told[-1]:.2f}")


def loop(directory):
    """Two nodes that only a relay connects."""
    lab = Lab(directory)
    try:
        net = Internet(lab)
        one, two = net.join(*(net.at("easy+noudp").host(name) for name in ("one", "two")))
        two.host.start("iperf3", "-s", "-1", private=False)
        one.host.pings(two.tail4, 30)
        idle = waits(one, SECONDS)
        flow = one.host.start("iperf3", "-c", two.tail4, "-u", "-b", "100M", "-l", "1200", "-t",
                              SECONDS + 4, "--json", private=False, log=lab.dir / "flow.json")
        time.sleep(2)
        busy = {node.name: waits(node, SECONDS / 2) for node in (one, two)}
        wait_for("the flow ends", lambda: not flow.alive(), 30)
        done = json.loads(flow.output())["end"]["sum"]
        rate = done["bits_per_second"] / 1e6 * (1 - done["lost_percent"] / 100)
        row("a node's loop, ms: median, 99 %, longest", describe(busy["one"]),
            f"sending {rate:.0f} Mb/s through a relay; aim: 20; receiving "
            f"{describe(busy['two'])}; idle {describe(idle)}; over 5 ms in the log: " +
            str(sum(node.log().count(" held up lane ") for node in (one, two))))
    finally:
        lab.close()


def main():
    if os.geteuid() != 0 or not (BIN / "derper").exists() or not LOAD.exists():
        print("relay: skipped: it needs root, tests/interop's programs (Go) and relay_load")
        return
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
        run(directory)
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
        loop(directory)


main()

"""Prints what a network of 10,000 peers costs the whole daemon: control, wg, filter and router.

The stock test control server sends the maps, so the numbers are those of the installed programs
from the socket to the kernel's routes. Needs root, and what tests/interop needs (Go). Judges
nothing.
"""

import os
import pathlib
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
from interop import BIN, Tailnet, Warren, wait_for  # noqa: E402
from lab import Lab  # noqa: E402

PEERS = 10000
DELTAS = 100
# Between two of them, so that each is a map of its own to all plugins.
GAP = 0.02
RULES, PREFIXES = 2000, 14000
# The first map comes while the daemon still does what a start asks for.
SETTLED = 1.0


def row(what, value, note=""):
    print(f"daemon: {what:<42} {value:>14}  {note}".rstrip(), flush=True)


def node(number):
    four = f"100.{100 + number // 65536}.{number // 256 % 256}.{number % 256}/32"
    six = f"fd7a:115c:a1e0:1::{number:x}/128"
    return {"ID": 1000 + number, "StableID": f"n{number}", "Name": f"host-{number}.tail.example.",
            "User": 1 + number % 200, "Key": f"nodekey:{number * 7919:064x}",
            "KeyExpiry": "2099-06-01T12:00:00Z", "Machine": f"mkey:{number:064x}",
            "DiscoKey": f"discokey:{number:064x}", "Addresses": [four, six],
            "AllowedIPs": [four, six], "HomeDERP": 1,
            "Endpoints": [f"203.0.113.{number % 250}:41641", f"192.168.1.{number % 250}:41641",
                          f"[2001:db8::{number:x}]:41641"],
            "Hostinfo": {"OS": "linux", "OSVersion": "6.18.44", "Hostname": f"host-{number}",
                         "Services": [{"Proto": "peerapi4", "Port": 30000 + number},
                                      {"Proto": "peerapi6", "Port": 30000 + number}]},
            "Created": "2026-01-02T03:04:05.678901234Z", "Cap": 142, "Tags": ["tag:server"],
            "Online": True, "MachineAuthorized": True}


def rules():
    """Rules whose sources are different prefixes, PREFIXES in all."""
    each = PREFIXES // RULES
    return [{"SrcIPs": [f"10.{(n * each + i) // 256}.{(n * each + i) % 256}.0/24"
                        for i in range(each)],
             "DstPorts": [{"IP": "*", "Ports": {"First": 1000 + n, "Last": 1000 + n}}]}
            for n in range(RULES)]


def cpu_ms(pid):
    """CPU of all threads so far."""
    return sum(int(path.read_text().split()[0])
               for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


def settled_cpu(pid):
    """The same, when it has stopped to rise by more than what an idle daemon does."""
    before = cpu_ms(pid)
    while True:
        time.sleep(SETTLED)
        now = cpu_ms(pid)
        if now - before < 5:
            return now
        before = now


def resident(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1]) / 1024
            for name in ("VmRSS", "VmHWM")]


class Bench:
    def __init__(self, tailnet, warren):
        self.tailnet, self.warren = tailnet, warren
        self.engine, self.monitor = warren.engine_pid(), warren.proc.pid
        self.key = tailnet.control.key("warren")
        self.own = tailnet.control.node("warren")

    def send(self, **response):
        self.tailnet.control.ask("raw", Key=self.key, Response=response)

    def cost(self, do):
        """Milliseconds of CPU of engine and monitor that do() causes."""
        before = settled_cpu(self.engine), settled_cpu(self.monitor)
        do()
        return settled_cpu(self.engine) - before[0], settled_cpu(self.monitor) - before[1]

    def routes(self):
        return len(self.warren.host.ip("route", "show", "table", "52",
                                        check=False).stdout.splitlines())

    def memory(self, when):
        now, peak = resident(self.engine)
        row(f"memory of the engine, {when}", f"{now:.1f} MiB",
            f"resident, aim with {PEERS} peers: 40; peak {peak:.1f}; "
            f"monitor {resident(self.monitor)[0]:.1f}")

    def full_map(self):
        peers = [node(i) for i in range(1, PEERS + 1)]

        def apply():
            self.send(Node=self.own, Peers=peers, Domain="tail.example",
                      PacketFilters={"base": [{"SrcIPs": ["*"], "DstPorts": [
                          {"IP": "*", "Ports": {"First": 0, "Last": 65535}}]}]})
            wait_for("all routes", lambda: self.routes() >= PEERS, 60)

        engine, monitor = self.cost(apply)
        row(f"full map of {PEERS} peers", f"{engine:.0f} ms", "CPU of the engine; aim for the map"
            f" alone: 400; monitor, with the kernel's work for {2 * PEERS} routes: {monitor:.0f}")

    def deltas(self, what, response):
        def apply():
            for i in range(DELTAS):
                self.send(**response(i))
                time.sleep(GAP)

        engine, monitor = self.cost(apply)
        row(f"delta of one peer: {what}", f"{engine / DELTAS:.2f} ms",
            f"CPU of the engine; aim: 1; monitor {monitor / DELTAS:.2f}")

    def policy(self):
        engine, _ = self.cost(lambda: self.send(PacketFilters={"base": rules()}))
        row(f"policy of {RULES} rules, {PREFIXES} prefixes", f"{engine:.0f} ms",
            "CPU of the engine, on its job pool for the most part")

    def status(self):
        """What `warren status` costs; that it holds nothing up is in the last row."""
        for words in (["status"], ["status", "--json"]):
            engine, _ = self.cost(lambda: self.warren.cli(*words))
            row("warren " + " ".join(words), f"{engine:.0f} ms",
                "CPU of the engine, on its job pool for the most part")


def run(directory):
    lab = Lab(directory)
    try:
        tailnet = Tailnet(lab)
        bench = Bench(tailnet, Warren(tailnet))
        bench.memory("alone")
        bench.full_map()
        bench.memory(f"{PEERS} peers")
        bench.deltas("another relay", lambda i: {"PeersChangedPatch": [
            {"NodeID": 1001 + i * 37, "DERPRegion": 1 + i % 2}]})
        bench.deltas("a new one", lambda i: {"PeersChanged": [node(PEERS + 1 + i)]})
        bench.deltas("it goes", lambda i: {"PeersRemoved": [1000 + PEERS + 1 + i]})
        bench.policy()
        bench.memory(f"{PEERS} peers and that policy")
        bench.status()
        slow = re.findall(r"plugin `(\w+)` held up lane `main` for (\d+) ms \((.*)\)",
                          bench.warren.log())
        row("callbacks of more than 5 ms", str(len(slow)),
            "aim: 0; " + ", ".join(f"{p} {ms} ms ({w})" for p, ms, w in slow[:8]))
    finally:
        lab.close()


def main():
    if os.geteuid() != 0 or not (BIN / "coordinator").exists():
        print("daemon: skipped: it needs root and tests/interop's programs (Go)")
        return
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
        run(directory)


main()

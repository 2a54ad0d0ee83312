"""Prints what the installed Warren costs and carries, beside wireguard-go in the same run.

A table of numbers, no verdicts: on a busy machine compare the ratios, not the absolute values.
"""

import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))
import lab as lablib  # noqa: E402
from lab import BINDIR, SBINDIR, Daemon, Lab, WireGuardGo, genkey, pubkey, wait_for  # noqa: E402

LIBDIR = pathlib.Path(os.environ.get("WARREN_LIBDIR", "/usr/local/lib"))
ENGINEDIR = pathlib.Path(os.environ.get("WARREN_LIBEXECDIR", "/usr/local/libexec/warren"))
PLUGINDIR = pathlib.Path(os.environ.get("WARREN_PLUGINDIR", LIBDIR / "warren/plugins-0"))
PLUGINS = ("filter", "identity", "router", "static", "wg")
SECONDS = int(os.environ.get("SECONDS_PER_RUN", "5"))
STARTS = 15


def row(what, value, note=""):
    print(f"{what:<44} {value:>14}  {note}".rstrip(), flush=True)


def stripped(path):
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["strip", "-o", out.name, str(path)], check=True)
        return os.stat(out.name).st_size


def sizes():
    core = {"warrend": SBINDIR / "warrend", "warren-engine": ENGINEDIR / "warren-engine",
            "libwarren": LIBDIR / "libwarren.so.0"}
    total = 0
    for name, path in core.items():
        size = stripped(path)
        total += size
        row(f"stripped {name}", f"{size / 1024:.0f} KiB")
    plugins = sum(stripped(PLUGINDIR / f"{name}.so") for name in PLUGINS)
    row(f"stripped plugins {' '.join(PLUGINS)}", f"{plugins / 1024:.0f} KiB")
    row("stripped core and these plugins", f"{(total + plugins) / 1024:.0f} KiB", "aim: 600 KiB")
    row("stripped client warren", f"{stripped(BINDIR / 'warren') / 1024:.0f} KiB")


def memory(pid):
    """Proportional and resident memory of a process, KiB."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    fields = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return fields["Pss"], fields["Rss"]


def yaml(lab, name, key, address, peer_key, peer_address, endpoint):
    secret = lab.secret(f"{name}.key", key)
    return (f"identity: {{node-key: {{file: {secret}}}}}\n"
            "wg: {port: 41641}\n"
            "static:\n"
            f"  addresses: [{address}/24]\n"
            "  peers:\n"
            "    peer:\n"
            f"      public-key: {peer_key}\n"
            f"      allowed-ips: [{peer_address}/32]\n"
            f"      endpoint: '{endpoint}'\n"
            "router: {}\n")


class Site:
    """Two hosts on a wire and one tunnel end of the named kind on each."""

    def __init__(self, directory, kinds):
        self.lab = Lab(directory)
        self.hosts = self.lab.host("a"), self.lab.host("b")
        self.lab.wire(*self.hosts, "192.0.2.1/24", "192.0.2.2/24")
        self.ends = []
        keys = genkey(), genkey()
        for i, kind in enumerate(kinds):
            mine, other = f"10.90.0.{i + 1}", f"10.90.0.{2 - i}"
            if kind == "warren":
                text = yaml(self.lab, f"site{i}", keys[i], mine, pubkey(keys[1 - i]), other,
                            f"192.0.2.{2 - i}:41641")
                self.ends.append(Daemon(self.hosts[i], text))
            else:
                end = WireGuardGo(self.hosts[i], f"{mine}/24", port=41641, private=keys[i],
                                  mtu=1280)
                end.peer(pubkey(keys[1 - i]), [f"{other}/32"], endpoint=f"192.0.2.{2 - i}:41641")
                self.ends.append(end)
        self.hosts[0].pings("10.90.0.2")

    def throughput(self, address="10.90.0.2"):
        """Mbit/s of one TCP stream from a to b, best of three."""
        server = self.hosts[1].start("iperf3", "-s", "--forceflush", "-B", address, private=False)
        try:
            wait_for("iperf3 listens", lambda: "listening" in server.output())
            best = 0
            for _ in range(3):
                done = self.hosts[0].run("iperf3", "-J", "-c", address, "-t", SECONDS,
                                         timeout=SECONDS + 30)
                best = max(best, json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"])
            return best / 1e6
        finally:
            server.stop()

    def round_trip(self):
        """Median microseconds of a ping through the tunnel."""
        done = self.hosts[0].run("ping", "-n", "-c", "200", "-i", "0.005", "10.90.0.2")
        times = [float(line.split("time=")[1].split()[0]) for line in done.stdout.splitlines()
                 if "time=" in line]
        return statistics.median(times) * 1000

    def close(self):
        for end in self.ends:
            end.stop()
        self.lab.close()


def tunnels():
    results = {}
    for kinds in (("wireguard-go",) * 2, ("warren",) * 2, ("warren", "wireguard-go"),
                  ("wireguard-go", "warren")):
        with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
            site = Site(directory, kinds)
            try:
                results[kinds] = site.throughput()
                ratio = results[kinds] / results[("wireguard-go",) * 2]
                row(f"TCP {kinds[0]} to {kinds[1]}", f"{results[kinds]:.0f} Mbit/s",
                    f"{ratio:.2f} of wireguard-go; ping {site.round_trip():.0f} us")
                if kinds == ("warren",) * 2:
                    report_memory("after the stream", site.ends[0])
                elif kinds == ("wireguard-go",) * 2:
                    pids = children(site.ends[0].proc.pid) or [site.ends[0].proc.pid]
                    pss, rss = memory(pids[0])
                    row("wireguard-go memory after the stream", f"{pss / 1024:.1f} MiB Pss",
                        f"{rss / 1024:.1f} MiB resident")
            finally:
                site.close()
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
        lab = Lab(directory)
        try:
            site = object.__new__(Site)
            site.lab, site.hosts = lab, (lab.host("a"), lab.host("b"))
            lab.wire(*site.hosts, "192.0.2.1/24", "192.0.2.2/24")
            row("TCP without a tunnel", f"{site.throughput('192.0.2.2'):.0f} Mbit/s")
        finally:
            lab.close()


def children(pid):
    return [int(p) for p in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def report_memory(when, daemon):
    monitor, engine = memory(daemon.proc.pid), memory(daemon.engine_pid())
    row(f"memory of monitor and engine, {when}", f"{(monitor[0] + engine[0]) / 1024:.2f} MiB Pss",
        f"{(monitor[1] + engine[1]) / 1024:.2f} MiB resident; "
        f"engine alone {engine[0] / 1024:.2f} Pss; aim when idle: 6 MiB Pss")


def start_and_idle():
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
        lab = Lab(directory)
        try:
            host = lab.host("a")
            text = yaml(lab, "idle", genkey(), "10.90.0.1", pubkey(genkey()), "10.90.0.2",
                        "192.0.2.2:41641")
            times = [start_once(lab, host, text, i) for i in range(STARTS)]
            row("start to ready, median", f"{statistics.median(times):.1f} ms",
                f"{min(times):.1f} to {max(times):.1f} in {STARTS} starts; aim: 30 ms")
            daemon = Daemon(host, text, name="-idle")
            time.sleep(3)
            report_memory("idle", daemon)
            daemon.stop()
        finally:
            lab.close()


def start_once(lab, host, text, number):
    """Milliseconds from exec to READY=1 on the notification socket."""
    path = lab.dir / f"notify{number}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        path.chmod(0o666)
        notify.settimeout(10)
        folder = lab.dir / f"start{number}"
        folder.mkdir()
        config = folder / "warren.yaml"
        config.write_text(text + f'system: {{user: "{lablib.ENGINE_USER}"}}\n')
        # `nsenter` costs too much to be part of the measure: the clock starts behind it.
        script = (f"read _; exec {SBINDIR / 'warrend'} --config {config} --state {folder / 'state'}"
                  f" --socket {folder / 'sock'} >{folder / 'log'} 2>&1")
        with subprocess.Popen(host.argv("sh", "-c", script), stdin=subprocess.PIPE, text=True,
                              env={**os.environ, "NOTIFY_SOCKET": str(path)}) as process:
            time.sleep(0.1)
            began = time.monotonic()
            process.stdin.write("go\n")
            process.stdin.flush()
            try:
                while "READY=1" not in notify.recv(4096).decode():
                    pass
                return (time.monotonic() - began) * 1000
            except TimeoutError:
                sys.exit(f"warrend was not ready in 10 s:\n{(folder / 'log').read_text()}")
            finally:
                process.terminate()
                process.wait(15)


def main():
    if os.geteuid() != 0:
        sys.exit("make bench needs root: it makes network namespaces")
    missing = lablib.need("wireguard-go", "wg", "iperf3", "strip", "ip")
    if missing:
        sys.exit(f"make bench needs {', '.join(missing)}")
    if not (SBINDIR / "warrend").exists():
        sys.exit(f"no installed warrend in {SBINDIR}: run make install first")
    sizes()
    start_and_idle()
    tunnels()


main()

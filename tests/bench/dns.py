"""Prints what a query costs our resolver and dnsmasq in the same run: queries per CPU second, for a
local name and for one that a resolver is asked for each time (neither keeps answers).

dnsperf asks both at a LAN address, so that the tunnel has no part in it. Needs root, an installed
tree, dnsperf, dnsmasq and unbound. Judges nothing.
"""

import os
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lab"))
from lab import Lab, need, wait_for  # noqa: E402
from test_dns import DOMAIN, LAN, OUT, Names, dig  # noqa: E402

SECONDS = float(os.environ.get("SECONDS_PER_RUN", "5"))


def cpu_seconds(pid):
    return sum(int(path.read_text().split()[0])
               for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def measure(names, pid, port, questions):
    """Queries per second of the processor's time, and of the clock's."""
    path = names.lab.dir / "queries"
    path.write_text("".join(f"{name} A\n" for name in questions))
    before = cpu_seconds(pid)
    text = names.c.run("dnsperf", "-s", LAN, "-p", port, "-d", path, "-l", SECONDS, "-c", 4,
                       "-q", 50, timeout=SECONDS + 30).stdout
    used = cpu_seconds(pid) - before
    done = int(re.search(r"Queries completed: +(\d+)", text)[1])
    return done / used, float(re.search(r"Queries per second: +([\d.]+)", text)[1])


def main():
    missing = need("dnsperf", "dnsmasq", "unbound", "dig")
    if os.geteuid() != 0 or missing:
        print(f"dns: not measured: needs root, {', '.join(missing) or 'nothing else'}")
        return
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as directory:
        lab = Lab(directory)
        try:
            n = Names(lab, dns=f"{{domain: {DOMAIN}, upstream: [{OUT}], cache-size: 0, "
                      f"listen: ['{LAN}:53'], allow: [203.0.113.0/24]}}")
            other = n.a.start("dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--no-resolv",
                              "--no-hosts", "--bind-interfaces", f"--listen-address={LAN}",
                              "--port=5353", "--pid-file=", "--cache-size=0",
                              f"--server={OUT}", f"--host-record=nas.{DOMAIN},100.64.0.2",
                              "--dns-forward-max=1000", private=False)
            wait_for("the LAN is served", lambda: dig(n.c, f"nas.{DOMAIN}", server=LAN,
                                                      check=False).data, 20)
            # Many, since the same question is asked once for all who wait.
            many = [f"n{i}.wild.example.org" for i in range(20000)]
            for what, questions in (("a local name", [f"nas.{DOMAIN}"]),
                                    ("a forwarded one", many)):
                ours = measure(n, n.da.engine_pid(), 53, questions)
                theirs = measure(n, other.pid, 5353, questions)
                print(f"dns: {what + ', queries per CPU second':<48} {ours[0]:>14,.0f}  "
                      f"dnsmasq {theirs[0]:,.0f}: {ours[0] / theirs[0]:.2f}", flush=True)
                print(f"dns: {what + ', queries per second':<48} {ours[1]:>14,.0f}  "
                      f"dnsmasq {theirs[1]:,.0f}", flush=True)
        finally:
            lab.close()


main()

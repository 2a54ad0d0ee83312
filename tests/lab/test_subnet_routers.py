"""Two subnet routers for one network: when the one in use goes, the other one takes over."""

import os
import sys

import pytest

from gateway import CLIENT, SERVER
from lab import wait_for
from nat import Internet


class Site:
    """A printer in an office with two gateways, and somebody elsewhere who prints."""

    def __init__(self, lab):
        net = self.net = Internet(lab)
        office = net.at("office:easy")
        self.network = f"{office.prefix4}.0/24"
        ends = [office.host(name) for name in ("first", "second")]
        self.printer = office.host("printer")
        log = lab.dir / "printer.log"
        server = self.printer.start(sys.executable, "-c", SERVER, 9100, private=False, log=log)
        wait_for("the printer listens", lambda: "listening" in server.output())
        self.gateways = net.join(*ends, extra=f"router: {{advertise: [{self.network}]}}\n")
        for gateway in self.gateways:
            net.hq.cli("route", "approve", gateway.name, self.network)
        self.client, = net.join(net.at("easy").host("client"), extra="router: {accept: true}\n")

    def printed_by(self):
        """The name of the gateway that a connection came through, or nothing."""
        done = self.client.host.run(sys.executable, "-c", CLIENT, self.printer.ip4, 9100, 2,
                                    check=False)
        source = done.stdout.strip()
        return next((g.name for g in self.gateways if source and g.host.ip4 == source), None)

    def prints_by(self, gateway):
        wait_for(f"{gateway.name} is the way", lambda: self.printed_by() == gateway.name, 90)


def stopped(gateway):
    assert gateway.stop() == 0


def killed(gateway):
    engine = gateway.engine_pid()
    for pid in (gateway.proc.pid, engine):
        os.kill(pid, 9)
    gateway.proc.popen.wait(5)


def unplugged(gateway):
    gateway.host.ip("link", "set", "eth0", "down")


@pytest.mark.parametrize("goes", (stopped, killed, unplugged))
def test_the_other_one_takes_over(lab, goes):
    site = Site(lab)
    first, second = site.gateways
    site.prints_by(first)
    goes(first)
    site.prints_by(second)
    if goes is unplugged:
        first.host.ip("link", "set", "eth0", "up")
        first.host.ip("route", "add", "default", "via", f"{first.host.switch.prefix4}.1")
    else:
        first.start()
    wait_for("the first is back", lambda: first.status()["control"]["state"] == "Running", 60)
    # It does not take it back: every change costs connections.
    site.prints_by(second)
    assert site.printed_by() == second.name
    stopped(second)
    site.prints_by(first)

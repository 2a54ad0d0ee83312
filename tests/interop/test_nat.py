"""The table of scenarios with stock nodes: ours and theirs behind NATs and firewalls, with our
coordinator and relays; see tests/lab/test_nat.py."""

import itertools
import re

import pytest

from interop import Tailnet, Tailscaled, kernel_sends, kernel_sink, wait_for
from nat import Internet

OURS = {"open": ("",), "wall": ("", "firewall"), "easy": ("easy",), "hard": ("hard",),
        "one": ("one",), "double": ("easy/easy",), "mute": ("easy+noudp",)}
THEIRS = {"open": ("",), "wall": ("", "firewall"), "easy": ("easy",), "hard": ("hard",)}
# Where there is no direct way, what `why` says of it.
VERDICTS = {**{("hard", theirs): "hard-nat" for theirs in ("wall", "easy", "hard")},
            **{(ours, "hard"): "no-answer" for ours in ("easy", "double")},
            **{("mute", theirs): "udp-blocked" for theirs in THEIRS}}


class Place:
    """As a Tailnet for one stock node."""

    def __init__(self, net, way, *flags):
        self.lab, self.control, self.net = net.lab, net.hq, net
        self.where = way, flags

    def host(self, name):
        way, flags = self.where
        return self.net.at(way).host(name, *flags)


class Cells:
    """All pairs of one of ours and one of theirs."""

    def __init__(self, lab):
        net = Internet(lab, control=Tailnet.CONTROL)
        ends = [net.at(way).host(name, *flags) for name, (way, *flags) in OURS.items()]
        self.ours = dict(zip(OURS, net.join(*ends)))
        key = net.hq.auth_key()
        self.theirs = {name: Tailscaled(Place(net, *where), f"stock-{name}",
                                        up=(f"--auth-key={key}",))
                       for name, where in THEIRS.items()}
        self.ports = itertools.count(5001)

    def pairs(self, names):
        return [(self.ours[ours], self.theirs[theirs]) for ours, theirs in names]

    def flow(self, names):
        """Every other one begins on their side."""
        for n, (ours, stock) in enumerate(self.pairs(names)):
            host, to = (stock.host, ours.tail4) if n % 2 else (ours.host, stock.ip4)
            host.start("ping", "-n", "-q", "-i", "0.5", "-w", "120", to, private=False)

    def stream(self, ours, stock):
        port = next(self.ports)
        sink = kernel_sink(stock.host, stock.ip4, port)
        kernel_sends(ours.host, stock.ip4, port, 1)
        assert sink.popen.wait(10) == 0


def way(ours, stock):
    """What ours says of the way to theirs."""
    return next((p for p in ours.status()["paths"]["peers"]
                 if p["name"].startswith(f"{stock.name}.")), {})


@pytest.mark.long
def test_cells_with_stock_nodes(lab):
    cells = Cells(lab)
    every = list(itertools.product(OURS, THEIRS))
    direct = [pair for pair in every if pair not in VERDICTS]
    cells.flow(direct)
    for ours, stock in cells.pairs(direct):
        wait_for(f"ours at {ours.name} reaches {stock.name} directly",
                 lambda o=ours, s=stock: way(o, s).get("trusted"), 40)
        wait_for(f"{stock.name} reaches ours at {ours.name} directly",
                 lambda o=ours, s=stock: s.peer(o.name)["CurAddr"], 40)
    before = [ours.relayed() for ours in cells.ours.values()]
    for ours, stock in cells.pairs(direct):
        cells.stream(ours, stock)
        assert ours.json("why", stock.name)["verdict"] == "direct"
    assert [ours.relayed() for ours in cells.ours.values()] == before
    cells.flow(VERDICTS)
    for ours, stock in cells.pairs(VERDICTS):
        cells.stream(ours, stock)
    for (ours, stock), verdict in zip(cells.pairs(VERDICTS), VERDICTS.values()):
        found = wait_for("a verdict", lambda o=ours, s=stock: next(
            (v for v in [o.json("why", s.name)["verdict"]] if v not in ("searching", "idle")),
            None), 30)
        assert found == verdict, f"{ours.name} of {stock.name}"
        assert not stock.peer(ours.name)["CurAddr"], f"{stock.name} of {ours.name}"
        text = stock.cli("ping", "--c=1", "--timeout=5s", ours.tail4, check=False).stdout
        assert re.search(r" via DERP\((east|west)\) in ", text), text

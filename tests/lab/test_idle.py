"""What a node costs that nobody talks to, and one that is told to be thrifty; see nat.py."""

import json
import time

import pytest
from lab import wait_for
from nat import Internet

DAY, MEASURED = 86400, 125
SETTLED = 10
METERED = "paths: {profile: metered}\n"


def traffic(host):
    """Bytes in and out of its link, with Ethernet headers and ARP."""
    stats = json.loads(host.ip("-s", "-j", "link", "show", "eth0").stdout)[0]["stats64"]
    return stats["rx"]["bytes"] + stats["tx"]["bytes"]


@pytest.mark.long
def test_an_idle_node_with_ten_peers(lab):
    """Under 1 MB a day, on a link that is paid by the byte."""
    net = Internet(lab)
    idle = net.join(*(net.at("easy").host(name) for name in ("one", "two")))
    idle += net.join(net.at("easy").host("thrifty"), extra=METERED)
    net.join(*(net.host(f"peer{n}") for n in range(8)))
    time.sleep(SETTLED)
    before, began = [traffic(node.host) for node in idle], time.monotonic()
    time.sleep(MEASURED)
    passed = time.monotonic() - began
    for node, bytes_before in zip(idle, before):
        assert len(node.status()["paths"]["peers"]) == 10
        assert (traffic(node.host) - bytes_before) * DAY / passed < 1e6, node.name


def test_metered_asks_seldom(lab):
    """What it costs to know one's addresses while there is traffic."""
    net = Internet(lab)
    lavish, = net.join(net.at("easy").host("lavish"))
    thrifty, = net.join(net.at("easy").host("thrifty"), extra=METERED)
    lavish.flow(thrifty)
    for node, peer in (lavish, thrifty), (thrifty, lavish):
        wait_for("a direct way", lambda n=node, p=peer: n.direct(p), 30)
    time.sleep(SETTLED)         # the checks of the start are over
    sent = [node.metric("warren_paths_stun_sent") for node in (lavish, thrifty)]
    wait_for("who may asks again and again", lambda: lavish.metric("warren_paths_stun_sent") >=
             sent[0] + 3, 90)
    assert thrifty.metric("warren_paths_stun_sent") == sent[1]

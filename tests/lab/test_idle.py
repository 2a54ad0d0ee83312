"""What a node costs that nobody talks to; see test_nat.py."""

import json
import time

import pytest
from test_nat import World

DAY, MEASURED = 86400, 125
SETTLED = 10


def traffic(host):
    """Bytes in and out of its link, with Ethernet headers and ARP."""
    stats = json.loads(host.ip("-s", "-j", "link", "show", "eth0").stdout)[0]["stats64"]
    return stats["rx"]["bytes"] + stats["tx"]["bytes"]


@pytest.mark.long
def test_an_idle_node_with_ten_peers(lab):
    """Under 1 MB a day, on a link that is paid by the byte."""
    places = {"one": ("easy",), **{f"peer{n}": ("",) for n in range(10)}}
    one = World(lab, places).nodes["one"]
    time.sleep(SETTLED)
    before, began = traffic(one.host), time.monotonic()
    time.sleep(MEASURED)
    a_day = (traffic(one.host) - before) * DAY / (time.monotonic() - began)
    assert len(one.status()["paths"]["peers"]) == 10
    assert a_day < 1e6

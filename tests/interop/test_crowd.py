"""Our coordinator is killed while many stock clients join: nobody is lost, nothing given twice."""

import os
import signal

import pytest

from interop import OwnTailnet, Talk, wait_for
from test_own import ALL

COUNT = 150


class Crowd(Talk):
    """The control half of many stock nodes; crowd-N is the Nth of all()."""

    def __init__(self, net, auth_key):
        super().__init__(net.switch, "crowd", "-control", net.control.url, "-auth-key", auth_key,
                         "-count", COUNT, "-every", "20ms")

    def all(self):
        return self.ask("all")

    def joined(self):
        """The numbers of those who were told so."""
        return [number for number, one in enumerate(self.all()) if one["Joined"]]


@pytest.fixture
def own(lab):
    one = OwnTailnet(lab, ALL)
    one.control.user("alice")
    return one


def kill_engine(control):
    """The monitor starts another."""
    old = control.engine_pid()
    os.kill(old, signal.SIGKILL)
    wait_for("another engine", lambda: control.engine_pid() not in (None, old))
    control.ready()


def kill_both(control):
    engine = control.engine_pid()
    control.proc.kill()
    os.kill(engine, signal.SIGKILL)
    control.proc.popen.wait(5)
    control.start()


@pytest.mark.alone
def test_killed_while_many_join(own):
    crowd = Crowd(own, own.control.auth_key("--user", "alice", "--reusable"))
    for kill, enough in ((kill_engine, 5), (kill_both, 40), (kill_engine, 90)):
        wait_for(f"{enough} have joined", lambda enough=enough: len(crowd.joined()) >= enough, 60)
        told = crowd.joined()
        assert len(told) < COUNT, "the storm is over"
        kill(own.control)
        names = {node["name"] for node in own.control.nodes()}
        missing = {f"crowd-{number}" for number in told} - names
        assert not missing, f"told that they had joined, and forgotten: {missing}"
    wait_for("all have joined", lambda: len(crowd.joined()) == COUNT, 60)
    wait_for("all see all", lambda: all(one["Peers"] == COUNT - 1 for one in crowd.all()), 60)
    nodes = {node["name"]: node for node in own.control.nodes()}
    assert len(nodes) == COUNT and all(node["online"] for node in nodes.values())
    addresses = [address for node in nodes.values() for address in node["addresses"]]
    assert len(set(addresses)) == 2 * COUNT
    for number, one in enumerate(crowd.all()):
        mine = [prefix.partition("/")[0] for prefix in one["Addresses"]]
        assert mine == nodes[f"crowd-{number}"]["addresses"], number

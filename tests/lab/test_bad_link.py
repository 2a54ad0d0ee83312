"""A link that delays and loses packets, by a cable in user space; see test_nat.py, cable.py."""

import time

import pytest

from lab import wait_for
from nat import Stream
from test_nat import World, are_direct, become_direct, both
from test_nat_events import AGAIN, when


def sent_by_relay(node):
    return node.metric('warren_wg_relayed{direction="sent"}')


def is_sure(events):
    """Since a second: a packet that was under way at the change is gone."""
    return bool(events and events[-1]["trusted"] and time.time() - when(events[-1]) > 1)


@pytest.mark.long
def test_loss_and_delay(lab):
    """A fifth of all packets is lost each way: paths come into doubt, and out of it again."""
    world = World(lab, {"one": ("easy", "cable"), "two": ("easy",)})
    pair = world.pairs("one two")[0]
    one, two = pair
    one.host.cable.becomes(delay=100, loss=20)
    become_direct([pair], AGAIN)
    stream, sure = Stream(one, two, mib=0.25), {one: 0, two: 0}

    def goes_on():
        """Copies go over the relay while we are in doubt, and at no other time."""
        for a, b in both([pair]):
            before, events = sent_by_relay(a), a.events(b)
            alive = stream.client.alive()
            after = sent_by_relay(a)
            if is_sure(events) and a.events(b) == events:
                assert after == before, events
                sure[a] += 1
        return not alive

    wait_for("the stream has come", goes_on, 240, step=0.3)
    stream.ends()
    assert all(sure.values()), sure
    are_direct([pair], AGAIN)
    for a, b in both([pair]):
        wait_for("the verdict", lambda a=a, b=b: a.why(b) == "direct", AGAIN)
        doubt = None
        for event in a.events(b):
            if not event["trusted"]:
                doubt = doubt or when(event)
            elif doubt:
                assert when(event) - doubt <= AGAIN, a.events(b)
                doubt = None

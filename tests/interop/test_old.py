"""An older version of the stock client, which many devices still have, with our coordinator."""

import pytest

from interop import BIN, OwnTailnet, Tailscaled, Tsnet, wait_for
from test_own import ALL, key

OLD = BIN / "old"

pytestmark = pytest.mark.skipif(not (OLD / "tailscaled").exists(),
                                reason="the older stock client was not built")


@pytest.fixture
def own(lab):
    one = OwnTailnet(lab, ALL)
    one.control.user("alice")
    return one


def test_the_older_client(own):
    """Joins, reaches and is reached, follows the policy, is logged in anew, and leaves."""
    auth_key = key(own)
    old = Tailscaled(own, "old", up=(f"--auth-key={auth_key}",), programs=OLD)
    assert old.cli("version").stdout.startswith("1.88.3")
    new = Tsnet(own, "new", auth_key=auth_key)
    old.pings(new.ip4)
    new.pings(old.ip4)
    new.pings(old.ip6)
    # Nobody reaches anybody: they do not know of each other any more.
    own.control.set_policy({"grants": []})
    wait_for("it does not see its peer", lambda: not old.peer("new"))
    own.control.set_policy(ALL)
    wait_for("it sees its peer again", lambda: old.peer("new"))
    old.pings(new.ip4)
    own.control.cli("node", "rename", "new", "newer")
    wait_for("it is told of the name", lambda: (old.peer("new") or {}).get("DNSName") ==
             f"newer.{own.control.DOMAIN}.")
    own.control.cli("node", "expire", "old", "--yes")
    wait_for("it has to log in", lambda: old.status()["BackendState"] == "NeedsLogin")
    old.up(f"--auth-key={auth_key}", "--force-reauth")
    old.pings(new.ip4)
    old.cli("logout")
    wait_for("it is logged out", lambda: old.status()["BackendState"] == "NeedsLogin")
    wait_for("its peer is told", lambda: not any(
        p["HostName"] == "old" and p["Online"]
        for p in (new.ask("status")["Peer"] or {}).values()))

"""Stock nodes and our daemon in a tailnet whose coordinator is ours."""

import pytest

from interop import (BIN, SINK, OwnTailnet, Tailscaled, Tsnet, Warren, kernel_reaches,
                     wait_for)

ALL = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}


@pytest.fixture
def own(lab):
    """An OwnTailnet in which everybody reaches everybody."""
    one = OwnTailnet(lab, ALL)
    one.control.user("alice")
    yield one
    assert one.control.proc.alive(), one.control.log()
    assert "assertion" not in one.control.log()


def key(own, *options):
    return own.control.auth_key("--user", "alice", "--reusable", *options)


def test_tsnet_nodes_join_and_ping(own):
    auth_key = key(own)
    one, two = (Tsnet(own, name, auth_key=auth_key) for name in ("one", "two"))
    one.pings(two.ip4)
    two.pings(one.ip6)
    one.sends(two.ip4, SINK, 4)
    names = {n["name"]: n for n in own.control.nodes()}
    assert set(names) == {"one", "two"}
    assert all(n["online"] for n in names.values()), names


def test_stock_daemon_joins(own):
    auth_key = key(own)
    stock = Tailscaled(own, up=(f"--auth-key={auth_key}",))
    tsnet = Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    tsnet.pings(stock.ip4)
    peer = wait_for("the stock daemon sees its peer", lambda: stock.peer("tsnet"))
    assert peer["DNSName"] == f"tsnet.{own.control.DOMAIN}."
    assert peer["Online"]


def test_our_daemon_joins(own):
    auth_key = key(own)
    warren = Warren(own, auth_key=auth_key, joined=False)
    tsnet = Tsnet(own, auth_key=auth_key)
    wait_for("it runs", lambda: warren.control()["state"] == "Running")
    node = wait_for("the coordinator knows it", lambda: own.control.node("warren"))
    warren.pings(tsnet.ip4)
    warren.pings(tsnet.ip6)
    tsnet.pings(node["addresses"][0])
    tsnet.pings(node["addresses"][1])


def log_in(own, stock, login="alice"):
    """`tailscale up` of somebody whom the operator lets in."""
    up = stock.host.start(f"{BIN}/tailscale", f"--socket={stock.socket}", "up",
                          f"--login-server={own.control.url}", f"--hostname={stock.name}",
                          "--timeout=30s", private=False)
    url = wait_for("a link to log in with", lambda: stock.status()["AuthURL"])
    page = own.switch.run("curl", "-sS", url).stdout
    code = url.rpartition("/")[2]
    assert f"warren node approve {code}" in page
    own.control.cli("node", "approve", code, "--user", login)
    assert up.popen.wait(30) == 0, up.output()
    stock.ip4, stock.ip6 = stock.cli("ip").stdout.split()


def test_login_by_link_logout_and_again(own):
    stock, tsnet = Tailscaled(own, up=None), Tsnet(own, auth_key=key(own))
    log_in(own, stock)
    stock.pings(tsnet.ip4)
    before = own.control.node("stock")
    stock.cli("logout")
    wait_for("it is logged out", lambda: stock.status()["BackendState"] == "NeedsLogin")
    wait_for("the coordinator knows", lambda: own.control.node("stock")["expired"])
    log_in(own, stock)
    after = own.control.node("stock")
    assert (after["id"], after["addresses"]) == (before["id"], before["addresses"])
    assert after["node_key"] != before["node_key"]
    stock.pings(tsnet.ip4)
    tsnet.pings(stock.ip4)


def test_policy_decides_who_sees_whom(own):
    auth_key = key(own)
    stock, tsnet = Tailscaled(own, up=(f"--auth-key={auth_key}",)), Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    own.control.set_policy({"grants": []})
    wait_for("they do not see each other", lambda: stock.peer("tsnet") is None)
    assert not tsnet.reaches(stock.ip4, SINK, seconds=1)
    own.control.set_policy({"grants": [{"src": ["autogroup:member"], "dst": ["autogroup:member"],
                                        "ip": [f"tcp:{SINK}"]}]})
    wait_for("they see each other", lambda: stock.peer("tsnet"))
    wait_for("a port is open", lambda: kernel_reaches(stock.host, tsnet.ip4, SINK))
    assert not kernel_reaches(stock.host, tsnet.ip4, SINK + 1, seconds=1)
    own.control.set_policy({"grants": [{"src": ["nobody"], "dst": ["*"], "ip": ["*"]}]})
    wait_for("it is refused", lambda: "stays in force" in own.control.log())
    assert kernel_reaches(stock.host, tsnet.ip4, SINK)


def test_deleted_and_expired_nodes(own):
    auth_key = key(own)
    stock, tsnet = Tailscaled(own, up=(f"--auth-key={auth_key}",)), Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    own.control.cli("node", "expire", "stock", "--yes")
    wait_for("it has to log in", lambda: stock.status()["BackendState"] == "NeedsLogin")
    stock.up(f"--auth-key={auth_key}", "--force-reauth")
    stock.pings(tsnet.ip4)
    own.control.cli("node", "delete", "stock", "--yes")
    wait_for("it has to log in", lambda: stock.status()["BackendState"] == "NeedsLogin")
    assert own.control.node("stock") is None
    stock.up(f"--auth-key={auth_key}", "--force-reauth")
    stock.pings(tsnet.ip4)


def test_coordinator_is_killed(own):
    auth_key = key(own)
    stock, tsnet = Tailscaled(own, up=(f"--auth-key={auth_key}",)), Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    before = {n["id"]: n["addresses"] for n in own.control.nodes()}
    own.control.proc.kill()
    own.control.proc.popen.wait(5)
    own.control.start()
    assert {n["id"]: n["addresses"] for n in own.control.nodes()} == before
    wait_for("they are back", lambda: all(n["online"] for n in own.control.nodes()), 60)
    third = Tsnet(own, "third", auth_key=auth_key)
    stock.pings(third.ip4)

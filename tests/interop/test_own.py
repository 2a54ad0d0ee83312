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
    own.control.set_policy({"grants": [], "tests": [{"src": "alice@", "accept": ["alice@:22"]}]})
    wait_for("its test fails", lambda: "does not pass" in own.control.log())
    assert kernel_reaches(stock.host, tsnet.ip4, SINK)
    # A start has no other one to keep.
    own.control.stop()
    own.control.start()
    wait_for("it is in force", lambda: "in force all the same" in own.control.log())
    assert own.control.node("tsnet")


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


def route_policy(*extra):
    return {"tagOwners": {"tag:gw": []}, "autoApprovers": {"routes": {"10.77.0.0/16": ["tag:gw"]}},
            "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}, *extra]}


def test_routes_of_a_tagged_gateway(own):
    own.control.set_policy(route_policy())
    wait_for("it is in force", lambda: "new policy is in force" in own.control.log())
    gateway = Tailscaled(own, "gateway", up=(
        f"--auth-key={own.control.auth_key('--tag', 'tag:gw')}",
        "--advertise-routes=10.77.1.0/24,10.88.0.0/24"))
    gateway.host.sysctl("net.ipv4.ip_forward", 1)
    gateway.host.ip("addr", "add", "10.77.1.1/32", "dev", "lo")
    gateway.host.ip("addr", "add", "10.88.0.1/32", "dev", "lo")
    stock = Tailscaled(own, up=(f"--auth-key={key(own)}", "--accept-routes"))
    node = own.control.node("gateway")
    assert (node["tags"], node["expiry"]) == (["tag:gw"], None)
    assert node["approved"] == ["10.77.1.0/24"]
    stock.pings("10.77.1.1")
    assert stock.host.ping("10.88.0.1", wait=1, check=False).returncode != 0
    own.control.cli("route", "approve", "gateway", "10.88.0.0/24")
    stock.pings("10.88.0.1")
    own.control.cli("route", "revoke", "gateway", "10.77.1.0/24")
    wait_for("it is gone", lambda: "10.77.1.0/24" not in stock.peer("gateway")["AllowedIPs"])
    assert stock.peer("gateway")["PrimaryRoutes"] == ["10.88.0.0/24"]


def test_a_second_gateway_takes_over(own):
    own.control.set_policy(route_policy())
    wait_for("it is in force", lambda: "new policy is in force" in own.control.log())
    gateways = []
    for name in ("gw1", "gw2"):
        gateways.append(Tailscaled(own, name, up=(
            f"--auth-key={own.control.auth_key('--tag', 'tag:gw')}",
            "--advertise-routes=10.77.1.0/24")))
        gateways[-1].host.sysctl("net.ipv4.ip_forward", 1)
        gateways[-1].host.ip("addr", "add", "10.77.1.1/32", "dev", "lo")
    stock = Tailscaled(own, up=(f"--auth-key={key(own)}", "--accept-routes"))
    stock.pings("10.77.1.1")
    assert own.control.node("gw1")["primary"] == ["10.77.1.0/24"]
    gateways[0].cli("down")
    wait_for("the other one is elected",
             lambda: own.control.node("gw2")["primary"] == ["10.77.1.0/24"], 30)
    stock.pings("10.77.1.1")
    gateways[0].cli("up")
    wait_for("it is back", lambda: own.control.node("gw1")["online"])
    assert own.control.node("gw2")["primary"] == ["10.77.1.0/24"]
    stock.pings("10.77.1.1")


def test_ephemeral_nodes_and_names(own):
    options = ("--user", "alice", "--ephemeral", "--reusable")
    stock = Tailscaled(own, up=(f"--auth-key={key(own)}",))
    tsnet = Tsnet(own, auth_key=own.control.auth_key(*options))
    stock.pings(tsnet.ip4)
    own.control.cli("node", "rename", "tsnet", "printer")
    wait_for("it has another name",
             lambda: stock.peer("tsnet")["DNSName"] == f"printer.{own.control.DOMAIN}.")
    tsnet.ask("logout")
    wait_for("it is deleted", lambda: own.control.node("printer") is None)
    wait_for("nobody sees it", lambda: stock.peer("tsnet") is None)
    again = Tsnet(own, "again", auth_key=own.control.auth_key(*options))
    assert again.ip4 != tsnet.ip4       # an address rests for a while


def test_our_ephemeral_node_leaves(own):
    auth_key = own.control.auth_key("--user", "alice", "--ephemeral", "--reusable")
    warren = Warren(own, auth_key=auth_key, control="\n  ephemeral: true", joined=False)

    def runs():
        return warren.control()["state"] == "Running"

    wait_for("it runs", runs)
    wait_for("the coordinator knows it", lambda: own.control.node("warren"))
    warren.stop()
    wait_for("it is deleted at once", lambda: own.control.node("warren") is None)
    warren.start()
    wait_for("it runs again", runs)

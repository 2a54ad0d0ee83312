"""What our daemon does with the map: changes of it, bad records, rules, keys that are replaced."""

import base64
import re

import pytest

from interop import SINK, Tailscaled, Tsnet, Warren, kernel_reaches, kernel_sink, wait_for

PORT, WEB = 8080, 8000

# 8 s of one TCP stream, in 400 pieces.
SLOW_BYTES = 400 * 16384
SLOW_STREAM = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as conn:
    for _ in range(400):
        conn.sendall(bytes(16384))
        time.sleep(0.02)
    conn.shutdown(socket.SHUT_WR)
    print(conn.makefile().readline())
"""
ACCEPTOR = """
import socket, sys
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    server.accept()[0].close()
"""


def hexkey(text):
    return "nodekey:" + base64.b64decode(text).hex()


def peers(warren):
    return {peer["name"]: peer for peer in warren.status()["wg"]["peers"]}


def candidates(warren, name):
    """Addresses at which that peer may be."""
    peer = next(p for p in warren.status()["paths"]["peers"] if p["name"] == name)
    return [c["address"] for c in peer["candidates"]]


def fake(number, **fields):
    """A peer that does not exist, as in a tailcfg.Node."""
    address = f"100.64.7.{number}"
    return {"ID": 700 + number, "StableID": f"fake{number}", "Name": f"fake{number}", "User": 1,
            "Key": f"nodekey:{number:064x}", "Machine": f"mkey:{number:064x}",
            "DiscoKey": f"discokey:{number:064x}", "MachineAuthorized": True,
            "Addresses": [f"{address}/32"], "AllowedIPs": [f"{address}/32"],
            "Endpoints": [f"192.0.2.{100 + number}:41641"],
            "Hostinfo": {"Hostname": f"fake{number}", "OS": "linux"}, **fields}


def raw(tailnet, **response):
    tailnet.control.ask("raw", Key=tailnet.control.key("warren"), Response=response)


def allow(source, destination, first, last=None):
    """Some TCP ports; and ICMP, which goes wherever any rule lets a peer in."""
    return {"SrcIPs": [source], "IPProto": [6], "DstPorts": [
        {"IP": destination, "Ports": {"First": first, "Last": last or first}}]}


def test_deltas(tailnet):
    warren, tsnet = Warren(tailnet), Tsnet(tailnet)
    warren.pings(tsnet.ip4)
    raw(tailnet, PeersChanged=[fake(1), fake(2)])
    wait_for("two more peers", lambda: set(peers(warren)) == {"tsnet", "fake1", "fake2"})
    assert candidates(warren, "fake1") == ["192.0.2.101:41641"]
    raw(tailnet, PeersChangedPatch=[{"NodeID": 701, "Endpoints": ["192.0.2.150:1234"]}])
    wait_for("another endpoint", lambda: candidates(warren, "fake1") == ["192.0.2.150:1234"])
    raw(tailnet, PeersRemoved=[702])
    wait_for("one peer less", lambda: set(peers(warren)) == {"tsnet", "fake1"})
    raw(tailnet, PeersChanged=[fake(1, AllowedIPs=["100.64.7.1/32", "100.64.8.8/32"])])
    warren.pings(tsnet.ip4)
    assert warren.control()["connected"]


def test_bad_record_is_left_out_and_the_rest_applies(tailnet):
    warren, tsnet = Warren(tailnet), Tsnet(tailnet)
    warren.pings(tsnet.ip4)
    raw(tailnet, PeersChanged=[fake(1), fake(2, Name="bad\nname", Endpoints=[]),
                               fake(3, AllowedIPs=["0.0.0.0/0", "100.64.7.3/32"],
                                    Key="nodekey:" + "00" * 32), fake(4)])
    wait_for("the good ones", lambda: {"fake1", "fake4"} <= set(peers(warren)))
    assert "fake3" not in peers(warren)
    assert re.search("warning control: .*703", warren.log()), warren.log()
    warren.pings(tsnet.ip4)


def test_denial_seen_from_both_sides(tailnet):
    """Rules at our node: one port of ours from that peer, and nothing else."""
    warren, stock, tsnet = Warren(tailnet), Tailscaled(tailnet), Tsnet(tailnet)
    stock.pings(warren.ip4)
    raw(tailnet, PacketFilter=[allow(stock.ip4, warren.ip4, PORT)])
    wait_for("the rules are in force", lambda: warren.status()["filter"]["rules"] == 1)
    for port in (PORT, PORT + 1):
        kernel_sink(warren.host, warren.ip4, port)
    # The peers' side: only what the rule names arrives.
    assert not kernel_reaches(stock.host, warren.ip4, PORT + 1)
    assert not tsnet.reaches(warren.ip4, PORT)
    assert stock.host.ping(warren.ip6, count=2, wait=1, check=False).returncode != 0
    assert kernel_reaches(stock.host, warren.ip4, PORT)
    stock.host.ping(warren.ip4)
    # Our side: the drops are counted, the command line agrees, and what we begin is answered.
    dropped = re.findall(r"^warren_filter_inbound_dropped_packets\S* (\d+)",
                         warren.cli("metrics").stdout, re.M)
    assert sum(map(int, dropped)) >= 5, dropped
    for what, status in ((f"tcp/{PORT}", 0), (f"tcp/{PORT + 1}", 1), (f"udp/{PORT}", 1),
                         ("icmp", 0)):
        assert warren.cli("filter", "test", stock.ip4, warren.ip4, what,
                          check=False).returncode == status, what
    assert warren.host.ping(stock.ip4, count=2, check=False).returncode == 0
    assert kernel_reaches(warren.host, tsnet.ip4, SINK)
    # Everything again.
    raw(tailnet, PacketFilter=[{"SrcIPs": ["*"], "DstPorts": [
        {"IP": "*", "Ports": {"First": 0, "Last": 65535}}]}])
    stock.pings(warren.ip6)


def test_denial_by_the_stock_peer(tailnet):
    """Rules at the stock node, which knows nothing of ours but what the server says."""
    warren, stock = Warren(tailnet), Tailscaled(tailnet)
    warren.pings(stock.ip4)
    tailnet.control.ask("raw", Key=tailnet.control.key("stock"), Response={
        "PacketFilter": [allow(warren.ip4, stock.ip4, PORT)]})
    for port in (PORT, PORT + 1):
        kernel_sink(stock.host, stock.ip4, port)
    wait_for("the rules are in force",
             lambda: warren.host.ping(stock.ip6, wait=1, check=False).returncode != 0)
    warren.host.ping(stock.ip4)
    assert not kernel_reaches(warren.host, stock.ip4, PORT + 1)
    assert kernel_reaches(warren.host, stock.ip4, PORT)
    stock.pings(warren.ip4)


def test_refusals_are_told_both_ways(tailnet):
    """Who refuses a connection tells the other node inside the tunnel, and that tells its user.

    (The stock client logs it; the connection attempt itself goes on until its own timeout.)
    """
    warren, stock, tsnet = Warren(tailnet), Tailscaled(tailnet), Tsnet(tailnet)
    stock.pings(warren.ip4)
    # A ping of this protocol is answered whatever the rules say.
    raw(tailnet, PacketFilter=[allow(tsnet.ip4, warren.ip4, PORT)])
    wait_for("the rules are in force", lambda: warren.status()["filter"]["rules"] == 1)
    tsnet.pings(warren.ip4, "TSMP")
    tsnet.pings(warren.ip6, "TSMP")
    # We refuse.
    assert not kernel_reaches(stock.host, warren.ip4, PORT)
    wait_for("the peer was told", lambda: re.search(
        rf"open-conn-track: flow TCP .* > {re.escape(warren.ip4)}:{PORT} rejected due to acl",
        stock.proc.output()))
    # They refuse.
    stock.cli("set", "--shields-up")
    wait_for("nobody is let in there",
             lambda: warren.host.ping(stock.ip4, wait=1, check=False).returncode != 0)
    assert not kernel_reaches(warren.host, stock.ip4, PORT + 1)
    last = wait_for("we were told", lambda: warren.status()["filter"].get("last_refusal"))
    assert (last["peer"], last["port"], last["reason"]) == (stock.ip4, PORT + 1, "shields")
    assert re.search(rf"filter: {re.escape(stock.ip4)} refuses tcp/{PORT + 1}: .*shields",
                     warren.log()), warren.log()


def serve_web(node):
    """Something on that host that takes any number of connections."""
    node.host.start("/usr/bin/python3", "-c", ACCEPTOR, node.ip4, str(WEB), private=False)
    wait_for("it listens", lambda: f"{node.ip4}:{WEB}" in node.host.run("ss", "-ltn").stdout)


def test_shields_up_seen_from_peers(tailnet):
    """Nobody begins a conversation with us any more; ours go on, and so do those under way."""
    warren, stock, tsnet = Warren(tailnet), Tailscaled(tailnet), Tsnet(tailnet)
    serve_web(warren)
    serve_web(stock)
    stock.pings(warren.ip4)
    tsnet.pings(warren.ip4)
    assert kernel_reaches(stock.host, warren.ip4, WEB) and tsnet.reaches(warren.ip4, WEB)
    kernel_sink(warren.host, warren.ip4, PORT)
    slow = stock.host.start("/usr/bin/python3", "-c", SLOW_STREAM, warren.ip4, str(PORT),
                            private=False)
    wait_for("the stream is there", lambda: f"{warren.ip4}:{PORT} " in warren.host.run(
        "ss", "-tn", "state", "established").stdout)
    warren.cli("set", "--shields-up")
    wait_for("the server is told", lambda: tailnet.control.node("warren")["Hostinfo"].get(
        "ShieldsUp"))
    assert not kernel_reaches(stock.host, warren.ip4, WEB)
    assert not tsnet.reaches(warren.ip4, WEB)
    assert stock.host.ping(warren.ip4, check=False).returncode != 0
    warren.pings(stock.ip4)
    assert kernel_reaches(warren.host, stock.ip4, WEB)
    assert slow.popen.wait(30) == 0, slow.output()
    assert f" {SLOW_BYTES}" in slow.output()
    warren.cli("set", "--shields-up=false")
    wait_for("peers come in again", lambda: kernel_reaches(stock.host, warren.ip4, WEB))
    assert tsnet.reaches(warren.ip4, WEB)


def test_no_rules_is_no_packet(tailnet):
    warren, stock = Warren(tailnet), Tailscaled(tailnet)
    stock.pings(warren.ip4)
    raw(tailnet, PacketFilters={"*": None})
    wait_for("nothing is let in",
             lambda: stock.host.ping(warren.ip4, wait=1, check=False).returncode != 0)
    warren.pings(stock.ip4)


@pytest.mark.control("-require-auth")
def test_peer_with_a_new_key(tailnet):
    """The stock peer logs in again, with another node key."""
    warren = Warren(tailnet, auth_key=None, joined=False)
    tailnet.control.ask("auth", URL=warren.auth_url())
    warren.joined()
    stock = Tailscaled(tailnet, up=None)
    stock.log_in()
    warren.pings(stock.ip4)
    old = tailnet.control.key("stock")
    stock.log_in("--force-reauth")
    assert tailnet.control.key("stock") != old
    wait_for("our node knows the new key", lambda: tailnet.control.key("stock") ==
             hexkey(peers(warren)["stock"]["key"]))
    warren.pings(stock.ip4)
    stock.pings(warren.ip6)


@pytest.mark.control("-require-auth")
def test_our_new_key_under_traffic(tailnet):
    """Expired, logged in again with another key: a flow to a stock peer goes on."""
    warren = Warren(tailnet, auth_key=None, joined=False)
    tailnet.control.ask("auth", URL=warren.auth_url())
    warren.joined()
    stock = Tailscaled(tailnet, up=None)
    stock.log_in()
    warren.pings(stock.ip4)
    flow = warren.host.start("ping", "-n", "-q", "-i", "0.02", "-c", "400", "-W", "1", stock.ip4,
                             private=False)
    kernel_sink(stock.host, stock.ip4, PORT)
    slow = warren.host.start("/usr/bin/python3", "-c", SLOW_STREAM, stock.ip4, str(PORT),
                             private=False)
    old = tailnet.control.key("warren")
    tailnet.control.ask("patch", Key=old, Fields={"KeyExpiry": "2024-01-01T00:00:00Z"})
    url = warren.auth_url()
    # From here on the test server shows the peer two nodes of one number, old key and new, until
    # the login ends: no time to look whether the old one serves.
    new, = {n["Key"] for n in tailnet.control.nodes() if n["Name"] == "warren"} - {old}
    tailnet.control.ask("patch", Key=new, Fields={"KeyExpiry": "0001-01-01T00:00:00Z"})
    tailnet.control.ask("auth", URL=url)
    wait_for("the new key is in use", lambda: warren.status()["identity"]["node"] == new)
    assert flow.popen.wait(30) == 0
    received = int(re.search(r"(\d+) received", flow.output())[1])
    assert received >= 250, flow.output()
    assert slow.popen.wait(30) == 0, slow.output()
    assert f" {SLOW_BYTES}" in slow.output()


def test_subnet_behind_a_stock_peer(tailnet):
    """A route that the server approved leads through that peer."""
    warren, stock = Warren(tailnet, extra="router: {accept: true}\n"), Tailscaled(tailnet)
    warren.pings(stock.ip4)
    stock.host.ip("addr", "add", "198.51.100.7/32", "dev", "lo")
    stock.cli("set", "--advertise-routes=198.51.100.7/32")
    stock.host.sysctl("net.ipv4.ip_forward", 1)
    tailnet.control.ask("routes", Key=tailnet.control.key("stock"), Routes=["198.51.100.7/32"])
    wait_for("the route is there",
             lambda: "198.51.100.7" in warren.host.ip("route", "show", "table", "52").stdout)
    warren.pings("198.51.100.7")
    tailnet.control.ask("routes", Key=tailnet.control.key("stock"), Routes=[])
    wait_for("the route is gone",
             lambda: "198.51.100.7" not in warren.host.ip("route", "show", "table", "52").stdout)
    warren.pings(stock.ip4)

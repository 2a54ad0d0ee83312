"""Our daemon finds direct paths with stock nodes: disco, STUN, and who says so."""

import re

from interop import PORT, Tailscaled, Tsnet, Warren, kernel_sends, kernel_sink, wait_for

SINK_PORT = 8080


# What a relay does on port 80, or, with argument 1, a captive portal.
PORT80 = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        challenge = self.headers["X-Tailscale-Challenge"]
        self.send_response(200 if sys.argv[1] == "1" else 204)
        if sys.argv[1] == "0":
            self.send_header("X-Tailscale-Response", "response " + challenge)
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("0.0.0.0", 80), Handler)
print("serving", flush=True)
server.serve_forever()
"""


def direct(host):
    """Its addresses, as a pattern."""
    return rf"({re.escape(host.ip4)}|\[{host.ip6}\]):{PORT}"


def peer(node, name):
    """What our node's status says of the way to that peer."""
    key = node.net.control.key(name)
    return next((p for p in node.status()["paths"]["peers"] if p["key"] == key), None)


def test_stun_answers_and_the_server_is_told(tailnet):
    ours = Warren(tailnet)
    report = ours.json("netcheck")
    assert report["UDP"] and report["IPv4"], report
    assert report["GlobalV4"] == f"{ours.host.ip4}:{PORT}"
    assert report["PreferredDERP"] in {r["RegionID"] for r in
                                       tailnet.control.ask("relays")["Regions"].values()}
    node = wait_for("the endpoint is told", lambda: next(
        (n for n in [tailnet.control.node("warren")]
         if f"{ours.host.ip4}:{PORT}" in (n["Endpoints"] or [])), None))
    info = wait_for("the home region is told", lambda: tailnet.control.node("warren")["Hostinfo"]
                    .get("NetInfo"))
    assert info["PreferredDERP"] == report["PreferredDERP"] and info["WorkingUDP"]
    assert not re.fullmatch("discokey:0*", node["DiscoKey"])
    assert ours.json("status")["Self"]["Relay"] == next(
        region["RegionCode"] for region in tailnet.control.ask("relays")["Regions"].values()
        if region["RegionID"] == report["PreferredDERP"])
    text = ours.cli("netcheck").stdout
    assert re.search(r"^ *\* UDP: true$", text, re.M), text
    assert re.search(rf"^ *\* IPv4: yes, {re.escape(ours.host.ip4)}:{PORT}$", text, re.M), text
    assert re.search(r"^ *\* Nearest DERP: \S", text, re.M), text


def test_direct_with_a_kernel_peer_both_ways(tailnet):
    ours, stock = Warren(tailnet), Tailscaled(tailnet)
    wait_for("we know the peer", lambda: peer(ours, "stock"))
    text = ours.cli("ping", stock.ip4).stdout
    assert re.search(rf"^pong from stock \({re.escape(stock.ip4)}\) via "
                     rf"{direct(stock.host)} in \d+m?s$", text, re.M), text
    text = stock.cli("ping", "--timeout=2s", ours.ip4).stdout
    assert re.search(rf"^pong from warren \({re.escape(ours.ip4)}\) via "
                     rf"{direct(ours.host)} in", text, re.M), text
    ours.pings(stock.ip4)
    stock.pings(ours.ip4)
    for address in stock.ip4, stock.ip6:
        assert re.fullmatch(rf"pong from stock \({re.escape(address)}, \d+\) via TSMP in \d+m?s\n",
                            ours.cli("ping", "--tsmp", address).stdout)
        assert re.fullmatch(rf"pong from stock \({re.escape(address)}\) via ICMP in \d+m?s\n",
                            ours.cli("ping", "--icmp", address).stdout)
    assert re.search(rf"\({re.escape(ours.ip4)}, \d+\) via TSMP in",
                     stock.cli("ping", "--tsmp", ours.ip4).stdout)
    assert f"({ours.ip4}) via ICMP in" in stock.cli("ping", "--icmp", ours.ip4).stdout
    wait_for("direct", lambda: peer(ours, "stock")["trusted"])
    assert re.search(r"stock .* active; direct \S+:\d+,", ours.cli("status").stdout)
    assert "direct" in stock.cli("status").stdout
    kernel_sink(stock.host, stock.ip4, SINK_PORT)
    kernel_sends(ours.host, stock.ip4, SINK_PORT, 64)
    assert ours.json("why", "stock")["verdict"] == "direct"
    events = ours.json("paths", "history", "stock")["events"]
    assert "first-answer" in [e["reason"] for e in events], events


def test_the_peer_begins(tailnet):
    ours, tsnet = Warren(tailnet), Tsnet(tailnet)
    tsnet.pings(ours.ip4, "disco")
    tsnet.pings(ours.ip4)
    wait_for("direct", lambda: peer(ours, "tsnet")["trusted"])
    ours.pings(tsnet.ip4)


def test_a_peer_that_moves(tailnet):
    ours, stock = Warren(tailnet), Tailscaled(tailnet)
    ours.pings(stock.ip4)
    wait_for("direct", lambda: peer(ours, "stock")["trusted"])
    old, new = (stock.host.ip4, stock.host.ip6), ("192.0.2.77", "2001:db8::77")
    for family, bits in ((0, 24), (1, 64)):
        stock.host.ip("addr", "del", f"{old[family]}/{bits}", "dev", "eth0")
        stock.host.ip("addr", "add", f"{new[family]}/{bits}", "dev", "eth0",
                      *(["nodad"] if family else []))
    for gateway in (tailnet.GATEWAY4, tailnet.GATEWAY6):
        stock.host.ip("route", "replace", "default", "via", gateway)
    ours.host.start("ping", "-i", "0.3", "-c", "100", stock.ip4, private=False)
    wait_for("another address is in use", lambda: peer(ours, "stock")["trusted"] and any(
        address in peer(ours, "stock")["address"] for address in new), 30)
    ours.pings(stock.ip4)
    reasons = [e["reason"] for e in ours.json("paths", "history", "stock")["events"]]
    assert "in-doubt" in reasons or "withdrawn" in reasons, reasons


def test_a_peer_that_restarts_has_another_disco_key(tailnet):
    ours, stock = Warren(tailnet), Tailscaled(tailnet)
    ours.pings(stock.ip4)
    before = tailnet.control.node("stock")["DiscoKey"]
    stock.proc.kill()
    wait_for("tailscaled ended", lambda: not stock.proc.alive())
    stock.restart()
    wait_for("it has another key", lambda: tailnet.control.node("stock")["DiscoKey"] != before)
    ours.pings(stock.ip4, 30)
    wait_for("direct", lambda: peer(ours, "stock")["trusted"])


def test_the_disco_key_is_never_taken_back(tailnet):
    """Stock peers end with a nil pointer where one becomes zero, as while we stop and start."""
    ours, tsnet = Warren(tailnet), Tsnet(tailnet)
    ours.pings(tsnet.ip4)
    # Nobody answers STUN, so that our endpoints are found some time after the first request.
    ours.host.run("nft", "add table inet t; add chain inet t out { type filter hook output"
                  " priority 0; }; add rule inet t out udp dport != 41641 drop")
    for _ in range(2):
        ours.stop()
        ours.start()
        ours.joined()
        ours.pings(tsnet.ip4, 20)
    keys = [r["DiscoKey"] for r in tailnet.control.requests("map")]
    assert len(keys) > 3
    assert all(re.search("[1-9a-f]", k.removeprefix("discokey:")) for k in keys), keys
    assert tsnet.alive()


def test_ping_says_what_is_wrong(tailnet):
    ours = Warren(tailnet)
    assert "is local Tailscale IP" in ours.cli("ping", ours.ip4).stdout
    done = ours.cli("ping", "nosuch", check=False)
    assert done.returncode == 1 and "nosuch" in done.stderr
    done = ours.cli("ping", "100.99.99.99", check=False)
    assert done.returncode == 1 and "no matching peer" in done.stderr
    assert ours.json("why", "nosuch")["verdict"] == "peer-unknown"
    stock = Tailscaled(tailnet)
    wait_for("we know the peer", lambda: peer(ours, "stock"))
    assert ours.json("why", "stock")["verdict"] == "idle"
    stock.proc.kill()
    done = ours.cli("ping", "--c", "2", "--timeout", "500ms", stock.ip4, check=False)
    assert done.returncode == 1 and "no reply" in done.stderr
    assert done.stdout.count(f'ping "{stock.ip4}" timed out') == 2


def test_why_there_is_no_direct_way(tailnet):
    """Firewalls of two hosts, as `why` sees them."""
    ours, stock = Warren(tailnet), Tailscaled(tailnet)
    wait_for("we know the peer", lambda: peer(ours, "stock"))
    ours.pings(stock.ip4)
    wait_for("direct", lambda: ours.json("why", "stock")["verdict"] == "direct")
    block = "add table inet t; add chain inet t in {{ type filter hook input priority 0; }};" \
            " add rule inet t in udp dport {} drop"
    stock.host.run("nft", block.format(PORT))
    ours.host.start("ping", "-i", "0.3", "-c", "200", stock.ip4, private=False)
    wait_for("the loss is noticed",
             lambda: ours.json("why", "stock")["verdict"] == "endpoint-black-holed", 20)
    ours.cli("netcheck")
    assert ours.json("why", "stock")["verdict"] == "endpoint-black-holed"
    stock.host.run("nft", "delete table inet t")
    wait_for("direct again", lambda: ours.json("why", "stock")["verdict"] == "direct", 30)
    reasons = [e["reason"] for e in ours.json("paths", "history", "stock")["events"]]
    assert "in-doubt" in reasons, reasons


def test_relay_while_udp_is_blocked_and_direct_after(tailnet):
    """Blocked before it starts: the home is found over HTTPS."""
    host = tailnet.host("warren")
    block = "add table inet t; add chain inet t out { type filter hook output priority 0; };" \
            f" add rule inet t out udp sport {PORT} drop"
    host.run("nft", block)
    ours, stock = Warren(tailnet, host=host), Tailscaled(tailnet)
    wait_for("a home", lambda: ours.status()["paths"]["home"], 30)
    report = ours.json("netcheck")
    assert not report["UDP"] and report["PreferredDERP"] and report["RegionLatency"], report
    assert report["CaptivePortal"] is None, report
    relays = tailnet.control.ask("relays")
    for region in relays["Regions"].values():
        for node in region["Nodes"]:
            node["CanPort80"] = True
    tailnet.control.ask("raw", Key=tailnet.control.key("warren"), Response={"DERPMap": relays})
    for portal in (True, False):
        served = tailnet.switch.start("/usr/bin/python3", "-c", PORT80, str(int(portal)),
                                      log=tailnet.lab.dir / f"port80-{portal}", private=False)
        wait_for("it serves", lambda served=served: "serving" in served.output())
        wait_for("the portal is noticed", lambda portal=portal:
                 ours.json("netcheck")["CaptivePortal"] is portal, 30)
        if portal:
            assert "CaptivePortal: true" in ours.cli("netcheck").stdout
        served.kill()
        served.popen.wait(5)
    wait_for("we know the peer", lambda: peer(ours, "stock"))
    ours.pings(stock.ip4)
    done = ours.cli("ping", "--c", "2", stock.ip4, check=False)
    assert done.returncode == 1 and "direct connection not established" in done.stderr
    assert re.search(rf"^pong from stock \({re.escape(stock.ip4)}\) via DERP\(\w+\) in \d+m?s$",
                     done.stdout, re.M), done.stdout
    assert re.search(r"stock .* active; relay \"\w+\"", ours.cli("status").stdout)
    kernel_sink(stock.host, stock.ip4, SINK_PORT)
    kernel_sends(ours.host, stock.ip4, SINK_PORT, 8)
    stock.pings(ours.ip4)
    ours.host.run("nft", "delete table inet t")
    ours.host.start("ping", "-i", "0.3", "-c", "100", stock.ip4, private=False)
    wait_for("direct", lambda: peer(ours, "stock")["trusted"], 30)
    assert "direct" in stock.cli("status").stdout


def test_no_packet_is_lost_for_long_when_a_path_dies(tailnet):
    """From 6.5 s on the relay has a copy; UDP between the two is dropped at the peer."""
    ours, stock = Warren(tailnet), Tailscaled(tailnet)
    ours.pings(stock.ip4)
    wait_for("direct", lambda: peer(ours, "stock")["trusted"])
    kernel_sink(stock.host, stock.ip4, SINK_PORT)
    stock.host.run("nft", "add table inet t; add chain inet t in { type filter hook input priority"
                   f" 0; }}; add rule inet t in udp dport {PORT} drop")
    kernel_sends(ours.host, stock.ip4, SINK_PORT, 1)
    events = ours.json("paths", "history", "stock")["events"]
    doubt = next(e for e in events if e["reason"] == "in-doubt")
    assert doubt["relay"] and doubt["address"], events

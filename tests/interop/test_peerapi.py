"""The peer API: ours asked by stock nodes, and theirs by ours."""

import re

import pytest

from interop import OwnTailnet, Tailnet, Tailscaled, Tsnet, Warren, wait_for

# Nobody reaches a port of anybody by it.
NOTHING = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["udp:9"]}]}


@pytest.fixture
def net(lab):
    """A Tailnet of the stock test server."""
    one = Tailnet(lab)
    yield one
    assert one.control.alive(), one.control.output()


def told(warren):
    """Ports in what our daemon tells of itself."""
    services = warren.net.control.node(warren.name)["Hostinfo"].get("Services") or []
    return {s["Proto"]: s["Port"] for s in services if s["Proto"].startswith("peerapi")}


def test_stock_nodes_reach_ours_and_ours_theirs(net):
    warren, stock, tsnet = Warren(net), Tailscaled(net), Tsnet(net)
    wait_for("the server knows our port", lambda: set(told(warren)) == {"peerapi4", "peerapi6"})
    warren.pings(stock.ip4)
    url = wait_for("the stock daemon knows where ours is", lambda: (
        stock.peer("warren") or {}).get("PeerAPIURL"))[0]
    assert url == f"http://{warren.ip4}:{told(warren)['peerapi4']}"
    said = stock.cli("ping", "--peerapi", warren.ip4).stdout
    assert re.fullmatch(rf"hit peerapi of {warren.ip4} \(warren[.\w]*\) at {url} in \d+m?s\n",
                        said), said
    assert tsnet.ping(warren.ip4, "peerapi", seconds=10)["PeerAPIURL"] == url
    for ip, family in (warren.ip4, 4), (warren.ip6, 6):
        pong = stock.cli("ping", "--tsmp", ip).stdout
        assert f"({ip}, {told(warren)[f'peerapi{family}']}) via TSMP in" in pong, pong
    # The same words.
    for name, ip in (("stock", stock.ip4), ("tsnet", tsnet.ip4)):
        said = warren.cli("ping", "--peerapi", ip).stdout
        assert re.fullmatch(rf"hit peerapi of {ip} \({name}[.\w]*\) at http://{ip}:\d+ in \d+m?s\n",
                            said), said
    answer = warren.json("ping", "--peerapi", "stock")
    assert answer["PeerAPIURL"].startswith(f"http://{stock.ip4}:"), answer
    # By HTTP/2 with prior knowledge too, and nobody else's name is taken.
    page = stock.host.run("curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version}", url)
    assert "Hello, " in page.stdout and page.stdout.endswith("\n2"), page.stdout
    for wrong in ("Host: evil.example", "Origin: https://evil.example", "Referer: http://x/"):
        refused = stock.host.run("curl", "-sS", "-H", wrong, url).stdout
        assert refused == "invalid peerapi request\n", (wrong, refused)
    for path in ("/v0/env", "/v0/goroutines", "/v0/metrics", "/debug/pprof"):
        assert stock.host.run("curl", "-sS", url + path).stdout == "unsupported peerapi path\n"


def test_policy_has_no_say_and_shields_have(lab):
    own = OwnTailnet(lab, NOTHING)
    own.control.user("alice")
    key = own.control.auth_key("--user", "alice", "--reusable")
    warren = Warren(own, auth_key=key, joined=False)
    stock = Tailscaled(own, up=(f"--auth-key={key}",))
    wait_for("it runs", lambda: warren.control()["state"] == "Running")
    url = wait_for("the stock daemon knows where ours is", lambda: (
        stock.peer("warren") or {}).get("PeerAPIURL"))[0]
    port = url.rpartition(":")[2]

    def answers():
        return stock.cli("ping", "--peerapi", "warren", check=False).returncode == 0

    wait_for("it answers", answers)
    assert "Hello, " in stock.host.run("curl", "-sS", "-m", "10", url).stdout
    warren.cli("set", "--shields-up")
    wait_for("it is shut", lambda: warren.status()["peerapi"]["shut"] == "shields are up")
    shut = stock.host.run("curl", "-sS", "-m", "3", url, check=False)
    assert shut.returncode != 0, shut.stdout
    wait_for("the stock daemon knows", lambda: not stock.peer("warren").get("PeerAPIURL"))
    warren.cli("set", "--shields-up=false")
    wait_for("it answers again", answers)
    assert stock.peer("warren")["PeerAPIURL"][0].rpartition(":")[2] == port

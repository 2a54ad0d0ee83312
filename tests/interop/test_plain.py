"""How a stock node treats a peer without path discovery, settled with wireguard-go as that peer.

This is what our node looks like to stock peers until it speaks the discovery protocol.
"""

import base64

from interop import PORT, Tailscaled, Tsnet, kernel_sends, kernel_sink, wait_for
from lab import WireGuardGo, genkey

PLAIN4, PLAIN6 = "100.64.9.9", "fd7a:115c:a1e0::99"


def hexkey(text):
    return "nodekey:" + base64.b64decode(text).hex()


def base64key(text):
    return base64.b64encode(bytes.fromhex(text.removeprefix("nodekey:"))).decode()


def plain_peer(tailnet, wireguard_only):
    """wireguard-go as node `plain`; stock and tsnet nodes know it from their map."""
    host = tailnet.host("plain")
    wg = WireGuardGo(host, [f"{PLAIN4}/32", f"{PLAIN6}/128"], port=PORT, private=genkey(), mtu=1280)
    tailnet.control.ask("add", Fields={
        "ID": 99, "StableID": "plain99", "Name": "plain", "User": 99, "Key": hexkey(wg.public),
        "Machine": "mkey:" + "22" * 32, "MachineAuthorized": True, "Online": True,
        "Addresses": [f"{PLAIN4}/32", f"{PLAIN6}/128"],
        "AllowedIPs": [f"{PLAIN4}/32", f"{PLAIN6}/128"],
        "Endpoints": [f"{host.ip4}:{PORT}"],
        "Hostinfo": {"Hostname": "plain", "OS": "linux"}, "IsWireGuardOnly": wireguard_only})
    return host, wg


def test_wireguard_only_peer_is_reached_at_its_endpoint(tailnet):
    stock, tsnet = Tailscaled(tailnet), Tsnet(tailnet)
    host, wg = plain_peer(tailnet, wireguard_only=True)
    for peer in (stock, tsnet):
        wg.peer(base64key(tailnet.control.key(peer.name)), [f"{peer.ip4}/32", f"{peer.ip6}/128"],
                endpoint=f"{peer.host.ip4}:{PORT}")
    # From the stock side first: it begins the handshake by itself.
    stock.pings(PLAIN4)
    tsnet.pings(PLAIN4)
    for peer in (stock, tsnet):
        host.pings(peer.ip4)
        host.pings(peer.ip6)
    kernel_sink(host, PLAIN4, 8080)
    kernel_sends(stock.host, PLAIN4, 8080, 16)
    kernel_sink(host, PLAIN6, 8080)
    tsnet.sends(PLAIN6, 8080, 16)


def test_peer_with_neither_disco_key_nor_mark_is_ignored(tailnet):
    stock = Tailscaled(tailnet)
    host, wg = plain_peer(tailnet, wireguard_only=False)
    wg.peer(base64key(tailnet.control.key("stock")), [f"{stock.ip4}/32"],
            endpoint=f"{stock.host.ip4}:{PORT}")
    wait_for("the peer is in the map", lambda: stock.peer("plain"))
    assert stock.host.ping(PLAIN4, count=2, wait=1, check=False).returncode != 0
    assert host.ping(stock.ip4, count=2, wait=1, check=False).returncode != 0

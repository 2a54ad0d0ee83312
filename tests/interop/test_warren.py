"""Our daemon under the stock test control server, with stock peers."""

from interop import SINK, Tailscaled, Tsnet, Warren, kernel_sends, kernel_sink

PORT = 8080


def test_dials_past_its_own_routes(tailnet):
    """The connection to the control server has the mark that keeps it out of the tunnel."""
    warren = Warren(tailnet)
    shown = warren.host.run("ss", "-tnHe", "state", "established", "dst",
                            tailnet.CONTROL).stdout.splitlines()
    assert shown and all("fwmark:0x80000" in line for line in shown)


def test_tsnet_peer(tailnet):
    warren, tsnet = Warren(tailnet), Tsnet(tailnet)
    peer_works(warren, tsnet)
    for there, here in ((tsnet.ip4, warren.ip4), (tsnet.ip6, warren.ip6)):
        kernel_sends(warren.host, there, SINK, 64)
        kernel_sink(warren.host, here, PORT)
        tsnet.sends(here, PORT, 64)


def test_tailscaled_peer(tailnet):
    warren, stock = Warren(tailnet), Tailscaled(tailnet)
    peer_works(warren, stock)
    for there, here in ((stock.ip4, warren.ip4), (stock.ip6, warren.ip6)):
        kernel_sink(stock.host, there, PORT)
        kernel_sends(warren.host, there, PORT, 64)
        kernel_sink(warren.host, here, PORT)
        kernel_sends(stock.host, here, PORT, 64)


def peer_works(warren, peer):
    """Pings both ways, over IPv4 and IPv6, begun by either."""
    warren.pings(peer.ip4)
    peer.pings(warren.ip4)
    peer.pings(warren.ip6)
    warren.pings(peer.ip6)

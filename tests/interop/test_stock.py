"""The control experiment: stock programs with each other, so that a failure elsewhere is ours."""

from interop import (SINK, Tailscaled, Tsnet, kernel_reaches, kernel_sends, kernel_sink, wait_for)

PORT = 8080


def test_stock_peers_reach_each_other(tailnet):
    tsnet = Tsnet(tailnet)
    stock = Tailscaled(tailnet)
    for there, here in ((tsnet.ip4, stock.ip4), (tsnet.ip6, stock.ip6)):
        stock.pings(there)
        tsnet.pings(here)
        kernel_sends(stock.host, there, SINK, 64)
        kernel_sink(stock.host, here, PORT)
        tsnet.sends(here, PORT, 64)
    assert "direct" in stock.cli("status").stdout


def test_stock_filter_refuses_what_the_rules_do_not_name(tailnet):
    tsnet = Tsnet(tailnet)
    stock = Tailscaled(tailnet)
    stock.pings(tsnet.ip4)
    tailnet.control.ask("raw", Key=tailnet.control.key("stock"), Response={"PacketFilter": [
        {"SrcIPs": [tsnet.ip4], "DstPorts": [
            {"IP": stock.ip4, "Ports": {"First": PORT, "Last": PORT}}]}]})
    kernel_sink(stock.host, stock.ip4, PORT + 1)
    wait_for("the filter is in force", lambda: not tsnet.reaches(stock.ip4, PORT + 1), 10)
    kernel_sink(stock.host, stock.ip4, PORT)
    assert tsnet.reaches(stock.ip4, PORT)
    assert kernel_reaches(stock.host, tsnet.ip4, SINK), "what stock begins is answered"

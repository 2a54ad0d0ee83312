"""Joining with the commands of the README: a daemon that is told nothing else."""

import re

import pytest

from interop import Daemon, Tailscaled, Tsnet, wait_for
from lab import BINDIR


def bare(tailnet):
    """A daemon with an empty configuration."""
    return Daemon(tailnet.host("box"), "node: {hostname: box}\n")


def test_up_with_an_auth_key_then_down_up_logout(tailnet):
    tsnet, box = Tsnet(tailnet), bare(tailnet)
    up = box.cli("up", "--login-server", tailnet.control.url, "--auth-key", "tskey-auth-any")
    assert up.returncode == 0
    box.host.pings(tsnet.ip4)
    assert box.cli("ip", "-4").stdout.strip() == box.cli("ip").stdout.split()[0]
    assert re.search(rf"^{tsnet.ip4} +tsnet .*linux ", box.cli("status").stdout, re.M)
    assert "tsnet" in box.cli("whois", tsnet.ip4).stdout
    assert box.cli("ip", "tsnet").stdout.split() == [tsnet.ip4, tsnet.ip6]
    # Nothing has to be repeated, neither now nor after a restart.
    box.cli("down")
    assert box.host.ping(tsnet.ip4, wait=1, check=False).returncode != 0
    box.cli("up")
    box.host.pings(tsnet.ip4)
    box.stop()
    box.start()
    box.host.pings(tsnet.ip4)
    # Its login is forgotten, and the server was told.
    box.cli("logout")
    wait_for("it is logged out", lambda: box.status()["control"]["state"] == "NeedsLogin")
    assert box.host.ping(tsnet.ip4, wait=1, check=False).returncode != 0
    told = [r["Expiry"] for r in tailnet.control.requests("tailcfg.RegisterRequest")]
    assert told[-1] < "2020", told


def up_by_link(tailnet, box, *words):
    up = box.host.start(BINDIR / "warren", "--socket", box.socket, "up", *words, private=False,
                        log=box.dir / f"up{words[0]}.log")
    link = wait_for("the link", lambda: re.search(r"http://\S+/auth/\w+", up.output()))
    assert up.alive()
    tailnet.control.ask("auth", URL=link[0])
    assert up.popen.wait(15) == 0, up.output()
    assert box.status()["control"]["state"] == "Running"


@pytest.mark.control("-require-auth")
def test_up_shows_the_link_and_waits(tailnet):
    """And again with another key, by link: see README.md."""
    box = bare(tailnet)
    up_by_link(tailnet, box, "--login-server", tailnet.control.url)
    stock = Tailscaled(tailnet, up=None)
    stock.log_in()
    box.host.pings(stock.ip4)
    old = box.status()["identity"]["node"]
    up_by_link(tailnet, box, "--force-reauth")
    assert box.status()["identity"]["node"] != old
    box.host.pings(stock.ip4)


def test_networks_behind_peers_are_reached_when_told_so(tailnet):
    tsnet, box = Tsnet(tailnet), bare(tailnet)
    box.cli("up", "--login-server", tailnet.control.url, "--auth-key", "tskey-auth-any")
    tailnet.control.ask("routes", Key=tsnet.key, Routes=["10.91.0.0/16"])
    unused = "Some peers are advertising routes but --accept-routes is false"
    wait_for("the map has the network", lambda: unused in box.cli("status").stdout)
    assert "10.91.0.0/16" in box.status()["Peer"][tsnet.key]["AllowedIPs"]

    def routed():
        return "10.91.0.0/16" in box.host.ip("route", "show", "table", "52").stdout
    assert not routed()
    box.cli("set", "--accept-routes")
    wait_for("the network is routed", routed)
    assert unused not in box.cli("status").stdout
    # The kernel behind tsnet answers for nobody there; that its key is used tells enough.
    sent = box.status()["Peer"][tsnet.key]["TxBytes"]
    box.host.ping("10.91.0.1", wait=1, check=False)
    wait_for("it is sent to that peer",
             lambda: box.status()["Peer"][tsnet.key]["TxBytes"] > sent)
    assert unused in box.cli("up", "--accept-routes=false").stdout
    wait_for("the network is routed no more", lambda: not routed())
    box.host.pings(tsnet.ip4)

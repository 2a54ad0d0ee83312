"""How our daemon logs in at the stock test control server, and what ends a login."""

import datetime
import json

import pytest

from interop import PORT, Tsnet, Warren, wait_for

HOUR = datetime.timedelta(hours=1)


def moment(delta):
    return (datetime.datetime.now(datetime.timezone.utc) + delta).strftime("%Y-%m-%dT%H:%M:%SZ")


def registers(tailnet):
    return tailnet.control.requests("tailcfg.RegisterRequest")


def test_joins_with_an_auth_key(tailnet):
    warren = Warren(tailnet)
    node = tailnet.control.node("warren")
    assert f"{warren.host.ip4}:{PORT}" in node["Endpoints"]
    assert f"[{warren.host.ip6}]:{PORT}" in node["Endpoints"]
    assert node["Machine"] == warren.status()["identity"]["machine"]
    assert node["Key"] == warren.status()["identity"]["node"]
    first, = registers(tailnet)
    assert first["Auth"]["AuthKey"] == "tskey-auth-any"
    assert not first.get("Ephemeral")


@pytest.mark.control("-require-auth-key", "tskey-auth-right")
def test_wrong_auth_key_is_the_servers_no(tailnet):
    warren = Warren(tailnet, auth_key="tskey-auth-wrong", joined=False)
    wait_for("the refusal", lambda: "invalid authkey" in warren.control().get("error", ""))
    assert warren.control()["state"] == "NeedsLogin"
    assert "invalid authkey" in warren.cli("doctor", check=False).stdout
    warren.give("tskey-auth-right")
    warren.joined()


@pytest.mark.control("-require-auth")
def test_interactive_login(tailnet):
    warren = Warren(tailnet, auth_key=None, joined=False)
    url = warren.auth_url()
    assert warren.control()["state"] == "NeedsLogin"
    assert url in warren.cli("status", check=False).stdout
    assert url.startswith(tailnet.control.url + "/auth/")
    tailnet.control.ask("auth", URL=url)
    warren.joined()
    assert "auth_url" not in warren.control()
    assert any(r["Followup"] == url for r in registers(tailnet))
    assert tailnet.control.key("warren") == warren.status()["identity"]["node"]


@pytest.mark.control("-require-auth")
def test_link_is_good_after_a_broken_connection(tailnet):
    """What waits for the user is asked again, with the link that he may have open already."""
    warren = Warren(tailnet, auth_key=None, joined=False)
    url = warren.auth_url()

    def followups():
        return [r for r in registers(tailnet) if r["Followup"] == url]
    wait_for("it waits for the user", followups)
    before = len(followups())
    warren.host.run("ss", "-K", "dst", tailnet.CONTROL)
    wait_for("it asks again", lambda: len(followups()) > before)
    assert warren.auth_url() == url
    tailnet.control.ask("auth", URL=url)
    warren.joined()


@pytest.mark.control("-require-auth")
def test_interactive_login_survives_a_restart_of_the_daemon(tailnet):
    warren = Warren(tailnet, auth_key=None, joined=False)
    warren.auth_url()
    warren.stop()
    warren.start()
    tailnet.control.ask("auth", URL=warren.auth_url())
    warren.joined()


@pytest.mark.control("-require-machine-auth")
def test_approval_by_an_administrator(tailnet):
    warren = Warren(tailnet, joined=False)
    wait_for("it waits for approval", lambda: warren.control()["state"] == "NeedsMachineAuth")
    tailnet.control.ask("patch", Key=tailnet.control.key("warren"),
                        Fields={"MachineAuthorized": True})
    warren.joined()


@pytest.mark.control("-tag-owners", '{"tag:gw": []}')
def test_tags_ephemeral_and_routes_are_told(tailnet):
    warren = Warren(tailnet, control="\n  tags: [tag:gw]\n  ephemeral: true",
                    extra="router: {advertise: [198.51.100.0/24]}\n")
    node = tailnet.control.node("warren")
    assert node["Tags"] == ["tag:gw"]
    assert node["Hostinfo"]["RoutableIPs"] == ["198.51.100.0/24"]
    # From the first word on: what it does not offer for a moment, a server stops to lead here.
    for said in registers(tailnet) + tailnet.control.requests("map"):
        assert said["Hostinfo"]["RoutableIPs"] == ["198.51.100.0/24"]
    assert registers(tailnet)[0]["Ephemeral"] is True
    assert node["Hostinfo"]["OS"] == "linux"


def test_new_address_is_told(tailnet):
    """At once, because the kernel says so; the daemon looks by itself every minute only."""
    warren = Warren(tailnet)

    def told():
        return tailnet.control.node("warren")["Endpoints"]

    assert "198.51.100.77:41641" not in told()
    warren.host.ip("addr", "add", "198.51.100.77/24", "dev", "eth0")
    wait_for("the server has the new address", lambda: "198.51.100.77:41641" in told(), 20)
    warren.host.ip("addr", "del", "198.51.100.77/24", "dev", "eth0")
    wait_for("the server has it no more", lambda: "198.51.100.77:41641" not in told(), 20)


def test_restart_logs_in_without_a_new_login(tailnet):
    warren = Warren(tailnet, control="\n  up: true")
    key, machine = (warren.status()["identity"][kind] for kind in ("node", "machine"))
    warren.stop()
    warren.start()
    warren.joined()
    assert warren.status()["identity"]["node"] == key
    assert warren.status()["identity"]["machine"] == machine
    assert len(tailnet.control.nodes()) == 1


def test_down_by_yaml_and_up_again(tailnet):
    warren, tsnet = Warren(tailnet), Tsnet(tailnet)
    warren.pings(tsnet.ip4)
    text = warren.config.read_text()
    warren.write(text.replace("control:\n", "control:\n  up: false\n"))
    warren.cli("reload")
    wait_for("it is down", lambda: warren.control()["state"] == "Stopped")
    assert warren.ip4 not in warren.host.ip("-o", "addr").stdout
    assert warren.host.ping(tsnet.ip4, wait=1, check=False).returncode != 0
    warren.write(text)
    warren.cli("reload")
    warren.joined()
    warren.pings(tsnet.ip4)


def test_server_that_forgot_us_is_joined_anew(tailnet):
    warren = Warren(tailnet)
    tailnet.restart()
    wait_for("it registers at the new server", lambda: tailnet.control.node("warren"), 60)
    warren.joined(60)
    tsnet = Tsnet(tailnet)
    warren.pings(tsnet.ip4)


def test_peers_work_while_the_server_is_away(tailnet):
    warren, tsnet = Warren(tailnet), Tsnet(tailnet)
    warren.pings(tsnet.ip4)
    tailnet.control.kill(19)    # SIGSTOP: connections stay, nobody answers
    try:
        warren.stop()
        warren.start()
        warren.pings(tsnet.ip4)
        assert not warren.control()["connected"]
    finally:
        tailnet.control.kill(18)
    wait_for("it is connected", lambda: warren.control()["connected"], 60)


def test_starts_while_names_have_no_address(tailnet):
    """Where the server was is on disk: a start with DNS down connects."""
    tailnet.control.url = f"http://control.{tailnet.lab.prefix}.test:8080"
    host = tailnet.host("warren")
    host.names = {f"control.{tailnet.lab.prefix}.test": tailnet.CONTROL}
    warren = Warren(tailnet, host=host)
    warren.stop()
    host.names = {}
    warren.start()
    wait_for("it is connected", lambda: warren.control()["connected"], 60)


def test_expired_key_and_login_by_link(tailnet):
    """The server ends our key; a user logs in again, with a key that replaces the old one."""
    tailnet.restart("-require-auth")
    warren = Warren(tailnet, auth_key=None, joined=False)
    tailnet.control.ask("auth", URL=warren.auth_url())
    warren.joined()
    old = tailnet.control.key("warren")
    tailnet.control.ask("patch", Key=old, Fields={"KeyExpiry": moment(-HOUR)})
    wait_for("it must log in", lambda: warren.control()["state"] == "NeedsLogin")
    assert "control.login" in warren.cli("doctor", check=False).stdout
    url = warren.auth_url()
    # The test server lets the new key inherit the old one's end; a real one does not.
    new, = {n["Key"] for n in tailnet.control.nodes()} - {old}
    tailnet.control.ask("patch", Key=new, Fields={"KeyExpiry": "0001-01-01T00:00:00Z"})
    assert warren.control()["state"] == "NeedsLogin"
    tailnet.control.ask("auth", URL=url)
    wait_for("it runs with the new key", lambda: warren.control()["state"] == "Running" and
             warren.status()["identity"]["node"] == new, 20)
    assert [n["Key"] for n in tailnet.control.nodes()] == [warren.status()["identity"]["node"]]


def test_expiry_that_the_server_takes_back(tailnet):
    warren, tsnet = Warren(tailnet, auth_key=None), Tsnet(tailnet)
    warren.pings(tsnet.ip4)
    key = tailnet.control.key("warren")
    tailnet.control.ask("patch", Key=key, Fields={"KeyExpiry": moment(+HOUR)})
    wait_for("it knows when", lambda: warren.control().get("key_expiry"))
    assert warren.control()["state"] == "Running"
    assert "control.key-expiry" in warren.cli("doctor", check=False).stdout
    warren.pings(tsnet.ip4)


def test_ping_and_c2n(tailnet):
    warren = Warren(tailnet)
    key = tailnet.control.key("warren")
    tailnet.control.ask("await", Key=key)
    c2n = lambda method, path, body="": tailnet.control.ask(    # noqa: E731
        "c2n", Key=key, Method=method, Path=path, Body=body, Seconds=5)
    echo = c2n("POST", "/echo", "hello")
    assert (echo["status"], echo["body"]) == (200, "hello")
    assert c2n("GET", "/debug/prefs")["status"] == 200
    netmap = c2n("POST", "/debug/netmap", '{"omitFields": ["DERPMap", "PacketFilterRules"]}')
    current = json.loads(netmap["body"])["current"]
    assert current["NodeKey"] == current["SelfNode"]["Key"] == key
    assert current["DERPMap"] is None
    metrics = c2n("GET", "/debug/metrics")
    assert metrics["status"] == 200 and metrics["header"]["Content-Type"] == ["text/plain"]
    assert json.loads(c2n("GET", "/update")["body"]) == {
        "Enabled": False, "Supported": False, "Started": False}
    assert json.loads(c2n("POST", "/update")["body"])["Err"] == "not enabled"
    for method, path, status in (
            ("POST", "/sockstats", 500), ("POST", "/logtail/flush", 500),
            ("GET", "/debug/goroutines", 501), ("POST", "/wol?mac=00:00:5e:00:53:01", 501),
            ("PATCH", "/remoteapi/localapi/v0/prefs", 403), ("POST", "/vip-services", 400),
            ("GET", "/tls-cert-status", 400), ("PUT", "/echo/../update", 400)):
        assert c2n(method, path)["status"] == status, (method, path)
    tailnet.control.ask("ping", Key=key, Ping={"URL": tailnet.control.url + "/key?ping=1"})
    wait_for("the ping's HEAD", lambda: "http HEAD /key?ping=1" in tailnet.control.output())
    assert warren.control()["connected"]

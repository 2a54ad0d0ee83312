"""What our daemon answers to requests of the server, beside a stock client that gets the same."""

import json
import re

import pytest

from interop import Tailscaled, Warren, wait_for


@pytest.fixture
def both(tailnet):
    """Asks both nodes: (ours, theirs)."""
    warren, stock = Warren(tailnet), Tailscaled(tailnet)
    wait_for("both know each other", lambda: len(warren.status()["wg"]["peers"]) == 1 and
             stock.peer("warren"))
    keys = [tailnet.control.key(name) for name in ("warren", "stock")]
    for key in keys:
        tailnet.control.ask("await", Key=key)

    def ask(method, path, body=""):
        return [tailnet.control.ask("c2n", Key=key, Method=method, Path=path, Body=body, Seconds=5)
                for key in keys]
    return ask


# Method, path, body: the same status, type and text. (What the stock client does that we do not
# have, its profiles and logs, is refused: test_login.py.)
SAME = [
    ("GET", "/debug/component-logging?component=nothing", ""),
    ("GET", "/debug/component-logging?component=no%20thing%22", ""),
    ("PUT", "/debug/netmap", ""),
    ("GET", "/tls-cert-status", ""),
    ("GET", "/tls-cert-status?domain=a.example.com", ""),
    ("GET", "/vip-services", ""),
    ("GET", "/appconnector/routes", ""),
    ("GET", "/posture/identity", ""),
    ("GET", "/ssh/usernames", ""),
    ("POST", "/ssh/usernames", "{}"),
    ("POST", "/ssh/usernames", ""),
    ("POST", "/echo", "hello"),
    ("DELETE", "/echo", ""),
    ("PUT", "/tls-cert-status", ""),
    ("POST", "/posture/identity", ""),
    ("DELETE", "/update", ""),
    ("GET", "/conn25/state", ""),
    ("GET", "/wol", ""),
    ("POST", "/debug/netmap", ""),
    ("GET", "/debug/tka/log", ""),
    ("POST", "/sockstats", ""),
    ("GET", "/sockstats", ""),
    ("GET", "/logtail/flush", ""),
    ("GET", "/netfilter-kind", ""),
    ("GET", "/remoteapi/localapi/v0/status", ""),
    ("PATCH", "/remoteapi/localapi/v0/prefs", '{"WantRunning": false}'),
    ("GET", "/nonsense", ""),
    ("GET", "/echo/below", ""),
    ("GET", "/debug/", ""),
]


def kind(answer):
    return answer["header"].get("Content-Type", [""])[0]


def headers(answer):
    return {name: value for name, value in answer["header"].items() if name != "Content-Length"}


def test_same_answers(both):
    for request in SAME:
        ours, theirs = both(*request)
        for what in ("status", "body"):
            assert ours[what] == theirs[what], request
        assert headers(ours) == headers(theirs), request


def misfits(ours, theirs, where=""):
    """Fields of ours that theirs has not, or with another type; null is as good as empty."""
    empty = (None, {}, [])
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            if name in theirs:
                yield from misfits(value, theirs[name], f"{where}.{name}")
            elif value not in empty:
                yield f"{where}.{name}: only ours"
    elif isinstance(ours, list) and isinstance(theirs, list):
        for one in ours if theirs else ():
            yield from misfits(one, theirs[0], f"{where}[]")
    elif type(ours) is not type(theirs) and not (
            None in (ours, theirs) and isinstance(ours or theirs or {}, (dict, list))):
        yield f"{where}: {type(ours).__name__} is not {type(theirs).__name__}"


def documents(answers):
    for answer in answers:
        assert answer["status"] == 200 and kind(answer) == "application/json"
        assert not answer["cut"]
    return [json.loads(answer["body"]) for answer in answers]


def test_settings_and_health_have_the_shape(both):
    for path in ("/debug/prefs", "/debug/health", "/update"):
        ours, theirs = documents(both("GET", path))
        assert ours and not list(misfits(ours, theirs)), path
    ours, theirs = documents(both("POST", "/update"))
    assert not list(misfits(ours, theirs)) and ours["Err"] == theirs["Err"]
    ours, theirs = documents(both("GET", "/debug/prefs"))
    for name in ("ControlURL", "WantRunning", "LoggedOut", "ShieldsUp", "AdvertiseRoutes",
                 "AdvertiseTags"):
        assert ours[name] == theirs[name]
    # Numbers below other names: ours are those of `warren metrics`.
    for answer in both("GET", "/debug/metrics"):
        assert answer["status"] == 200 and kind(answer) == "text/plain"
        assert re.search(r"^# TYPE \w+ (counter|gauge)\n(\w+\S*) \d+$", answer["body"], re.M)


def any_node(netmap):
    """The fields of all nodes: Go leaves out empty ones."""
    merged = {}
    for node in [netmap["SelfNode"], *netmap["Peers"]]:
        hostinfo = {**merged.get("Hostinfo", {}), **node["Hostinfo"]}
        merged.update(node, Hostinfo=hostinfo)
    return merged


def test_map(both):
    ours, theirs = (document["current"] for document in documents(both("GET", "/debug/netmap")))
    node = any_node(theirs)
    for one in (ours["SelfNode"], *ours["Peers"]):
        assert not list(misfits(one, node))
    assert not list(misfits({**ours, "SelfNode": {}, "Peers": [],
                              "PacketFilterRules": []}, theirs))
    # The same map: what one is to itself the other sees as its peer.
    for seen, itself in ((ours["Peers"][0], theirs["SelfNode"]),
                         (theirs["Peers"][0], ours["SelfNode"])):
        for name in ("ID", "StableID", "Name", "User", "Key", "Machine", "Addresses", "AllowedIPs",
                     "Endpoints", "Cap", "MachineAuthorized"):
            assert seen[name] == itself[name], name
        for name in ("DiscoKey", "HomeDERP", "IsWireGuardOnly"):
            assert seen.get(name) == itself.get(name), name
    for name in ("Domain", "PacketFilterRules", "UserProfiles", "SSHPolicy", "TKAEnabled"):
        assert ours[name] == theirs[name], name
    assert ours["AllCaps"] == theirs["AllCaps"]
    assert ours["DERPMap"]["Regions"] == theirs["DERPMap"]["Regions"]


def test_map_without_fields_and_with_a_candidate(both):
    wish = {"omitFields": ["DERPMap", "Peers", "Nonsense"], "candidate": {"Node": {
        "ID": 7, "Key": "nodekey:" + 64 * "7", "Name": "x.example.",
        "Addresses": ["100.64.9.9/32"]}}}
    ours, theirs = documents(both("POST", "/debug/netmap", json.dumps(wish)))
    for which in ("current", "candidate"):
        for name in wish["omitFields"]:
            assert ours[which].get(name) is theirs[which].get(name) is None
    for name in ("ID", "Key", "Name", "Addresses", "AllowedIPs"):
        assert ours["candidate"]["SelfNode"].get(name) == theirs["candidate"]["SelfNode"].get(name)
    for one in (ours, theirs):
        assert one["candidate"]["NodeKey"] == one["current"]["NodeKey"]
    ours, theirs = both("POST", "/debug/netmap", "nonsense")
    words = "failed to decode request body: "
    assert ours["status"] == theirs["status"] == 400 and kind(ours) == kind(theirs)
    assert ours["body"].startswith(words) and theirs["body"].startswith(words)

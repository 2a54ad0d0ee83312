"""Postures over attributes that the operator and the stock client itself set."""

import http.client
import json
import socket

from interop import OwnTailnet, Tailscaled, Tsnet, wait_for

POLICY = {
    "tagOwners": {"tag:db": []},
    "postures": {"posture:ok": ["custom:risk < 1.5", "custom:tier == 'prod'"]},
    "attrConfig": {"custom:risk": {"type": "number", "allowSetByNode": True},
                   "custom:tier": {"type": "string"}},
    "grants": [{"src": ["autogroup:member"], "dst": ["tag:db"], "ip": ["*"],
                "srcPosture": ["posture:ok"]}],
}


class LocalApi(http.client.HTTPConnection):
    """What the stock daemon serves on its socket."""

    def __init__(self, path):
        super().__init__("local-tailscaled.sock", timeout=40)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def sets(stock, **attributes):
    """The device sets attributes of its own; the status, and what is said."""
    api = LocalApi(stock.socket)
    try:
        api.request("PATCH", "/localapi/v0/alpha-set-device-attrs",
                    json.dumps({f"custom:{name}": value for name, value in attributes.items()}))
        answer = api.getresponse()
        return answer.status, answer.read().decode()
    finally:
        api.close()


def test_postures_follow_attributes(lab):
    own = OwnTailnet(lab, POLICY)
    own.control.user("alice")
    stock = Tailscaled(own, up=(f"--auth-key={own.control.auth_key('--user', 'alice')}",))
    tsnet = Tsnet(own, auth_key=own.control.auth_key("--tag", "tag:db"))
    assert sets(stock, risk=0.5)[0] == 200
    assert own.control.node("stock")["attributes"] == ["custom:risk=0.5"]
    assert stock.peer("tsnet") is None
    own.control.cli("node", "attr", "stock", "tier=prod")
    wait_for("the posture holds", lambda: stock.peer("tsnet"))
    stock.pings(tsnet.ip4)
    status, said = sets(stock, tier="test")
    assert status != 200 and "attrConfig" in said, said
    assert sets(stock, risk=1.5)[0] == 200
    wait_for("it does not hold", lambda: stock.peer("tsnet") is None)
    assert sets(stock, risk=None)[0] == 200
    assert own.control.node("stock")["attributes"] == ['custom:tier="prod"']
    log = own.control.cli("coordinator", "log").stdout
    assert log.count("node.attributes") == 4, log

"""Certificates for names of devices: stock clients, our coordinator, pebble as the authority."""

import os
import pathlib

import pytest

from interop import OwnTailnet, Tailscaled, need, run, wait_for
from pebble import Pebble

KNOTD = pathlib.Path(os.environ.get("WARREN_UNPACKED", "unpacked")) / "knot/usr/sbin/knotd"
ALL = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}
SECRET = "bWl0dGVuIGluIGRlciBuYWNodCBzaW5kIHdpciB3YWNoIQ=="

pytestmark = pytest.mark.skipif(bool(need("pebble", "openssl", "kdig")), reason="no programs")

KNOT = """
server:
    rundir: {dir}
    listen: {address}@5353
database:
    storage: {dir}
key:
  - id: warren
    algorithm: {algorithm}
    secret: {secret}
acl:
  - id: changes
    key: warren
    action: update
    update-type: TXT
zone:
  - domain: test
    storage: {dir}
    file: test.zone
    acl: changes
"""
ZONE = """
$TTL 60
@ SOA ns.example. hostmaster.example. 1 3600 600 86400 5
@ NS ns.example.
"""


class Knot:
    """knot as the primary server of the zone `test`."""

    def __init__(self, net, algorithm="hmac-sha256", secret=SECRET):
        place = net.lab.dir / "knot"
        place.mkdir()
        (place / "test.zone").write_text(ZONE)
        (place / "knot.conf").write_text(KNOT.format(
            dir=place, address=net.GATEWAY4, algorithm=algorithm, secret=secret))
        self.net = net
        self.proc = net.switch.start(KNOTD, "-c", place / "knot.conf", private=False)
        wait_for("knot answers", lambda: "hostmaster" in self.dig("test", "SOA"))

    def dig(self, name, kind):
        return self.net.switch.run("kdig", "+short", "+time=1", "+retry=0", f"@{self.net.GATEWAY4}",
                                   "-p", "5353", name, kind, check=False).stdout


class Certified:
    """A tailnet whose coordinator has a zone, and an authority that asks @resolver."""

    def __init__(self, lab, zone, resolver):
        self.net = OwnTailnet(lab, ALL, zone)
        self.control = self.net.control
        self.control.user("alice")
        self.pebble = Pebble(lab, self.net.switch, address=self.net.GATEWAY4, resolver=resolver)

    def device(self, name="stock"):
        bundle = self.net.lab.dir / "authorities.pem"
        bundle.write_text(self.pebble.ca.read_text() + self.pebble.roots.read_text())
        key = self.control.auth_key("--user", "alice")
        return Tailscaled(
            self.net, name, up=(f"--auth-key={key}",), SSL_CERT_FILE=str(bundle),
            TS_DEBUG_ACME_DIRECTORY_URL=f"https://{self.net.GATEWAY4}:14000/dir")

    def orders(self, stock):
        """`tailscale cert` of that device's own name."""
        place, name = self.net.lab.dir / f"cert-{stock.name}", f"{stock.name}.tail.test"
        place.mkdir(exist_ok=True)
        stock.cli("cert", f"--cert-file={place}/crt", f"--key-file={place}/key", name, timeout=60)
        shown = run("openssl", "verify", "-CAfile", self.pebble.roots, "-untrusted", place / "crt",
                    "-verify_hostname", name, place / "crt").stdout
        assert shown.endswith(": OK\n"), shown
        public = run("openssl", "pkey", "-in", place / "key", "-pubout").stdout
        assert public == run("openssl", "x509", "-in", place / "crt", "-noout", "-pubkey").stdout

    def finding(self):
        """What doctor says of the zone."""
        lines = self.control.cli("doctor", check=False).stdout.splitlines()
        return next(line for line in lines if "coordinator.zone" in line)


def served(net=OwnTailnet):
    return ("\n  zone:\n    nameservers: [ns.example.org]\n    contact: ops@example.org\n"
            f"    listen: ['{net.GATEWAY4}:53', '[{net.GATEWAY6}]:53']")


def asked(net, name, kind, *options):
    """What our own zone says, with its status and flags."""
    return net.switch.run("kdig", "+time=2", "+retry=1", *options, f"@{net.GATEWAY4}", name,
                          kind).stdout


def test_zone_of_our_own(lab):
    one = Certified(lab, served(), f"{OwnTailnet.GATEWAY4}:53")
    stock, other = one.device(), one.device("other")
    assert stock.status()["CertDomains"] == ["stock.tail.test"]
    one.orders(stock)
    one.orders(other)
    assert "status: NOERROR" in asked(one.net, "stock.tail.test", "A")      # there, but empty
    for transport in "+notcp", "+tcp":
        shown = asked(one.net, "_acme-challenge.stock.tail.test", "TXT", transport)
        assert "Flags: qr aa rd;" in shown and "ANSWER: 1;" in shown, shown
        assert "status: NXDOMAIN" in asked(one.net, "nobody.tail.test", "A", transport)
        assert "ns.example.org. ops.example.org." in asked(one.net, "tail.test", "SOA", transport)
        assert "NS\tns.example.org." in asked(one.net, "tail.test", "NS", transport)
        assert "status: REFUSED" in asked(one.net, "example.org", "A", transport)
    refused = one.net.switch.run("kdig", "+tcp", f"@{one.net.GATEWAY4}", "tail.test", "AXFR",
                                 check=False)
    assert "REFUSED" in refused.stderr, refused.stderr
    assert one.finding().startswith("ok")
    # Nobody proves somebody else's name, and names of others are no names to order.
    refused = stock.cli("cert", "other.tail.test", check=False)
    assert refused.returncode != 0 and "invalid domain" in refused.stderr, refused.stderr


def test_zone_comes_and_goes_with_a_reload(lab):
    one = Certified(lab, "", f"{OwnTailnet.GATEWAY4}:53")
    stock = one.device()
    refused = stock.cli("cert", "stock.tail.test", check=False)
    assert "does not support getting TLS certs" in refused.stderr
    before = one.control.config.read_text()
    one.control.write(before.replace("\n  derp-map", served() + "\n  derp-map"))
    one.control.cli("reload")
    wait_for("the device has a name to prove", lambda: stock.status()["CertDomains"])
    one.orders(stock)
    one.control.write(before)
    one.control.cli("reload")
    wait_for("the device has none", lambda: not stock.status()["CertDomains"])
    ports = one.net.switch.run("ss", "-Hltun", "sport", "53").stdout
    assert not ports, ports


def updated(lab, secret=SECRET, algorithm="hmac-sha256"):
    path = lab.dir / "tsig.secret"
    path.write_text(secret + "\n")
    return (f"\n  zone:\n    update: {{server: '{OwnTailnet.GATEWAY4}:5353', zone: test, "
            f"key: warren, algorithm: {algorithm}, secret: {{file: {path}}}}}")


needs_knot = pytest.mark.skipif(not KNOTD.exists(), reason="no knot: make unpacked")


@needs_knot
@pytest.mark.parametrize("algorithm", ["hmac-sha256", "hmac-sha512"])
def test_zone_on_a_server_elsewhere(lab, algorithm):
    one = Certified(lab, updated(lab, algorithm=algorithm), f"{OwnTailnet.GATEWAY4}:5353")
    knot = Knot(one.net, algorithm)
    stock = one.device()
    one.orders(stock)
    assert len(knot.dig("_acme-challenge.stock.tail.test", "TXT").splitlines()) == 1
    assert one.finding().startswith("ok")


@needs_knot
@pytest.mark.parametrize("there,here,said", [
    ({"secret": "YW5vdGhlciBzZWNyZXQ="}, "hmac-sha256", "another secret for this key (BADSIG)"),
    ({"algorithm": "hmac-sha512"}, "hmac-sha256", "does not know the key"),
    (None, "hmac-sha256", "refused"),
])
def test_server_elsewhere_that_refuses(lab, there, here, said):
    one = Certified(lab, updated(lab, algorithm=here), f"{OwnTailnet.GATEWAY4}:5353")
    knot = Knot(one.net, **there) if there is not None else None
    stock = one.device()
    refused = stock.cli("cert", "stock.tail.test", check=False, timeout=60)
    assert "does not take the record" in refused.stderr, refused.stderr
    assert said in one.finding(), one.finding()
    assert knot is None or not knot.dig("_acme-challenge.stock.tail.test", "TXT")

"""pebble: a real authority for certificates, for tests."""

import json
import os

from lab import run, wait_for

GATEWAY, AUTHORITY = "192.0.2.1", "192.0.2.2"


class Pebble:
    """pebble and its DNS server, which leads every name to the gateway, unless one is named."""

    def __init__(self, lab, host, accounts=None, address=AUTHORITY, gateway=GATEWAY,
                 resolver=None):
        self.lab, self.host, self.address = lab, host, address
        self.ca = lab.dir / "pebble.pem"
        self.roots = lab.dir / "roots.pem"
        key, config = lab.dir / "pebble.key", lab.dir / "pebble.json"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=pebble", "-addext",
            f"subjectAltName=IP:{address}", "-keyout", key, "-out", self.ca)
        config.write_text(json.dumps({"pebble": {
            "listenAddress": f"{address}:14000", "managementListenAddress": f"{address}:15000",
            "certificate": str(self.ca), "privateKey": str(key), "httpPort": 80, "tlsPort": 443,
            "ocspResponderURL": "", "externalAccountBindingRequired": bool(accounts),
            "externalAccountMACKeys": accounts or {}}}))
        self.dns = None if resolver else host.start(
            "pebble-challtestsrv", "-dns01", "127.0.0.1:8053", "-http01", "", "-https01", "",
            "-tlsalpn01", "", "-defaultIPv4", gateway, "-defaultIPv6", "", "-management",
            "127.0.0.1:8055", private=False)
        self.server = host.start("pebble", "-config", config, "-dnsserver",
                                 resolver or "127.0.0.1:8053",
                                 private=False, env={**os.environ, "PEBBLE_VA_NOSLEEP": "1"})
        wait_for("pebble answers", lambda: self.root())

    def root(self):
        """Writes what it signs with; false while it does not answer."""
        done = self.host.run("curl", "-s", "--cacert", self.ca,
                             f"https://{self.address}:15000/roots/0", check=False)
        self.roots.write_text(done.stdout)
        return done.returncode == 0 and "BEGIN CERTIFICATE" in done.stdout

    def ask(self, name, port=443, path="/"):
        """The gateway's answer to somebody who trusts this authority alone."""
        return self.host.run("curl", "-sS", "--cacert", self.roots, "--resolve",
                             f"{name}:{port}:{GATEWAY}", f"https://{name}:{port}{path}",
                             check=False)

    def stop(self):
        self.server.stop()
        if self.dns:
            self.dns.stop()

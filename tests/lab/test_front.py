"""front with a real authority for tests (pebble) on another host: orders, renewal, restart."""

import json
import os
import signal

import pytest
from lab import Daemon, need, run, wait_for

GATEWAY, AUTHORITY = "192.0.2.1", "192.0.2.2"


class Pebble:
    """pebble and its DNS server, which leads every name to the gateway."""

    def __init__(self, lab, host):
        self.lab, self.host = lab, host
        self.ca = lab.dir / "pebble.pem"
        self.roots = lab.dir / "roots.pem"
        key, config = lab.dir / "pebble.key", lab.dir / "pebble.json"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=pebble", "-addext",
            f"subjectAltName=IP:{AUTHORITY}", "-keyout", key, "-out", self.ca)
        config.write_text(json.dumps({"pebble": {
            "listenAddress": f"{AUTHORITY}:14000", "managementListenAddress": f"{AUTHORITY}:15000",
            "certificate": str(self.ca), "privateKey": str(key), "httpPort": 80, "tlsPort": 443,
            "ocspResponderURL": "", "externalAccountBindingRequired": False}}))
        self.dns = host.start("pebble-challtestsrv", "-dns01", "127.0.0.1:8053", "-http01", "",
                              "-https01", "", "-tlsalpn01", "", "-defaultIPv4", GATEWAY,
                              "-defaultIPv6", "", "-management", "127.0.0.1:8055", private=False)
        self.server = host.start("pebble", "-config", config, "-dnsserver", "127.0.0.1:8053",
                                 private=False, env={**os.environ, "PEBBLE_VA_NOSLEEP": "1"})
        wait_for("pebble answers", lambda: self.root())

    def root(self):
        """Writes what it signs with; false while it does not answer."""
        done = self.host.run("curl", "-s", "--cacert", self.ca,
                             f"https://{AUTHORITY}:15000/roots/0", check=False)
        self.roots.write_text(done.stdout)
        return done.returncode == 0 and "BEGIN CERTIFICATE" in done.stdout

    def ask(self, name, port=443, path="/"):
        """The gateway's answer to somebody who trusts this authority alone."""
        return self.host.run("curl", "-sS", "--cacert", self.roots, "--resolve",
                             f"{name}:{port}:{GATEWAY}", f"https://{name}:{port}{path}",
                             check=False)

    def stop(self):
        self.server.stop()
        self.dns.stop()


@pytest.fixture
def authority(lab, pair):
    missing = need("pebble", "pebble-challtestsrv", "openssl", "curl")
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    return Pebble(lab, pair[1])


def yaml(authority, names, rest=""):
    return (f"front: {{tls: acme, names: {names}, {rest}acme: {{contact: ops@example.com,\n"
            f"  directory: 'https://{AUTHORITY}:14000/dir', ca-file: {authority.ca}}}}}\n")


def certificates(daemon):
    return {c["name"]: c["sha256"] for c in daemon.status()["front"]["certificates"]}


def ordered(daemon, name):
    return wait_for(f"a certificate for {name}", lambda: certificates(daemon).get(name), 30)


def findings(daemon):
    """What doctor says of front that is not well."""
    lines = daemon.cli("doctor", check=False).stdout.splitlines()
    return "\n".join(line for line in lines if " front." in line and not line.startswith("ok"))


def test_ordered_kept_and_renewed(authority, pair):
    gateway = pair[0]
    gateway.names = {"hq.example.com": GATEWAY}
    daemon = Daemon(gateway, yaml(authority, "[hq.example.com]"))
    first = ordered(daemon, "hq.example.com")
    answer = authority.ask("hq.example.com")
    assert answer.stdout == "Nothing is served here.\n", answer.stderr
    wait_for("every check of front is well", lambda: not findings(daemon))

    os.kill(daemon.engine_pid(), signal.SIGKILL)
    wait_for("the next engine has it", lambda: daemon.cli("status", check=False).returncode == 0
             and certificates(daemon).get("hq.example.com") == first, 20)
    authority.stop()
    assert daemon.stop() == 0
    daemon.start()
    assert certificates(daemon) == {"hq.example.com": first}

    daemon.cli("front", "renew", "hq.example.com")
    wait_for("the failure is told", lambda: "front renew" in findings(daemon))
    assert certificates(daemon) == {"hq.example.com": first}    # which still holds
    refused = daemon.cli("front", "renew", "other.example.com", check=False)
    assert refused.returncode != 0 and "none of the public names" in refused.stderr


def test_by_the_plain_port_and_from_another_way(authority, pair):
    gateway = pair[0]
    daemon = Daemon(gateway, "front: {tls: self-signed, https-port: 8443}\n")
    own = certificates(daemon)[""]
    where = authority.host.run("sh", "-c", f"echo | openssl s_client -connect {GATEWAY}:8443 "
                               "2>/dev/null | openssl x509 -outform der | sha256sum")
    assert where.stdout.split()[0] == own

    # What is there answers until the first one comes, by port 80 since 443 is closed.
    daemon.write(yaml(authority, "[hq.example.com, www.example.com]", "https-port: 8443, "))
    daemon.cli("reload")
    ordered(daemon, "hq.example.com")
    ordered(daemon, "www.example.com")
    assert "" not in certificates(daemon)
    for name in ("hq.example.com", "www.example.com"):
        assert authority.ask(name, 8443).returncode == 0
    text = wait_for("names that do not resolve are told",
                    lambda: "does not lead to this box" in findings(daemon) and findings(daemon))
    assert "hq.example.com" in text and "TCP port 8443" in text

    daemon.write("front: {tls: self-signed, https-port: 8443}\n")
    daemon.cli("reload")
    assert certificates(daemon) == {"": own}

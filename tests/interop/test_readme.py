"""README, section "Run a tailnet": done as it is written, from nothing to a tailnet.

What differs is the authority for certificates, which is one for tests, and where files are.
"""

import os
import re
import shlex

import pytest
from interop import LAB, Daemon, Tailnet, Tailscaled, need, wait_for
from pebble import Pebble

README = (LAB.parent.parent / "README.md").read_text()
SECTION = README.partition("\n## Run a tailnet\n")[2].partition("\n## ")[0]
NAME = "hq.example.com"


def blocks():
    """Its indented blocks, without the indentation."""
    return [re.sub(r"^ {4}", "", block, flags=re.M)
            for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", SECTION, re.M)]


def commands():
    """What is typed, without comments."""
    lines = "".join(blocks()).splitlines()
    return [shlex.split(line, comments=True) for line in lines
            if re.match(r"(warren|tailscale|systemctl) ", line)]


class Public(Tailnet):
    """Every host knows the box by its public name, and trusts the authority."""

    authority = None

    def begin(self, *options, **listeners):
        host = super().host("authority")
        self.authority = Pebble(self.lab, host, address=host.ip4, gateway=self.CONTROL)
        self.know(self.switch)

    def know(self, host):
        host.names[NAME], host.trusted = self.CONTROL, self.authority.roots
        return host

    def host(self, name):
        return self.know(super().host(name)) if self.authority else super().host(name)


class Reader:
    """Does on each machine what the section says."""

    def __init__(self, net):
        self.net, self.seen = net, {}
        yaml = next(block for block in blocks() if "coordinator:" in block)
        policy = net.lab.dir / "policy.hujson"
        policy.write_text(re.search(r'`(\{"grants".*?\})`', SECTION, re.S).group(1))
        self.files = {"/etc/warren/policy.hujson": str(policy)}
        acme = (f"acme, acme: {{contact: ops@example.com, ca-file: {net.authority.ca}, "
                f"directory: 'https://{net.authority.address}:14000/dir'}}")
        assert "tls: acme" in yaml
        self.yaml = self.there(yaml).replace("tls: acme", f"tls: {acme}")
        self.box = self.stock = self.gateway = self.up = None

    def there(self, text):
        for name, path in self.files.items():
            text = text.replace(name, path)
        return text

    def start_box(self):
        self.box = Daemon(self.net.switch, self.yaml)
        wait_for("a certificate", lambda: any(
            c["name"] == NAME for c in self.box.status()["front"]["certificates"]), 30)

    def on_box(self, argv):
        """A command there; before the daemon runs, those that need none work as well."""
        done = (self.box.cli(*argv) if self.box else
                self.net.switch.run(os.environ["WARREN_BINDIR"] + "/warren", *argv))
        for what, pattern in (("wkey-auth-...", r"wkey-auth-\S+"), ("CODE", r"^[0-9a-f]{24}\b")):
            found = re.search(pattern, done.stdout, re.M)
            if found:
                self.seen[what] = found.group()
        return done.stdout

    def do(self, argv):
        argv = [self.seen.get(word, self.there(word)) for word in argv]
        if argv[:2] == ["systemctl", "enable"]:
            self.start_box()
        elif argv[0] == "tailscale":
            self.stock = Tailscaled(self.net, up=None)
            self.stock.cli(*argv[1:], "--timeout=30s")
        elif argv[1] == "up":
            self.gateway = Daemon(self.net.host("gateway"), "")
            self.up = self.gateway.host.start(
                os.environ["WARREN_BINDIR"] + "/warren", "--socket", self.gateway.socket,
                *argv[1:], private=False)
            wait_for("the gateway shows a link",
                     lambda: f"https://{NAME}/" in self.up.output(), 30)
        else:
            return self.on_box(argv[1:])
        return ""


def test_run_a_tailnet(lab):
    missing = need("pebble", "pebble-challtestsrv", "openssl", "curl")
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    typed = commands()
    assert len(typed) <= 10
    reader = Reader(Public(lab))
    text = [reader.do(argv) for argv in typed][-1]
    assert reader.up.popen.wait(30) == 0, reader.up.output()
    stock = reader.stock.cli("ip", "-4").stdout.strip()
    gateway = reader.gateway.cli("ip", "-4").stdout.strip()
    assert stock in text and gateway in text, text
    reader.stock.pings(gateway, 30)
    reader.gateway.host.pings(stock, 30)

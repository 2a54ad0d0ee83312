"""The stock relay (derper), and a certificate authority for it."""

import re
import secrets

from interop import BIN, wait_for
from lab import run

REGION = 900


class Derper:
    """A stock relay on a host of its own. `name` is a host name with a certificate of `ca`, or the
    address with one that it makes for itself; `tls` off: plain HTTP."""

    def __init__(self, net, host, name=None, ca=None, tls=True, port=None, options=()):
        self.net, self.host, self.name = net, host, name or host.ip4
        self.port = port or (443 if tls else 3340)
        self.folder = net.lab.dir / f"derper-{host.name}"
        self.folder.mkdir(exist_ok=True)
        if ca:
            ca.sign(self.name, self.folder)
        self.tls, self.options, self.proc = tls, options, None
        self.start()

    def start(self):
        tls = ["-certmode", "manual", "-certdir", self.folder] if self.tls else []
        self.proc = self.host.start(
            BIN / "derper", "-a", f":{self.port}", "-http-port", "-1", "-stun=false",
            "-hostname", self.name, "-c", self.folder / "derper.conf", *tls, *self.options,
            log=self.folder / f"log-{secrets.token_hex(3)}", private=False)
        wait_for("derper listens",
                 lambda: f":{self.port} " in self.host.run("ss", "-ltn").stdout)

    def stop(self):
        self.proc.kill()
        self.proc.popen.wait(5)

    def pin(self):
        return re.search(r"sha256-raw:[0-9a-f]{64}", self.proc.output())[0]

    def metric(self, name):
        """Of its page /debug/, which it shows to its own host."""
        scheme = "https" if self.tls else "http"
        text = self.host.run("curl", "-sk", f"{scheme}://127.0.0.1:{self.port}/debug/varz").stdout
        found = re.search(rf"^{name} (\d+)$", text, re.M)
        return int(found[1]) if found else None

    def node(self, name="900a", **more):
        return {"Name": name, "RegionID": REGION, "HostName": self.name, "IPv4": self.host.ip4,
                "IPv6": "none", "STUNPort": -1, "DERPPort": self.port, **more}


class Authority:
    """A certificate authority of the openssl program's."""

    def __init__(self, folder):
        self.key, self.pem = folder / "relay-ca.key", folder / "relay-ca.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=relay tests", "-days", "2", "-keyout", self.key, "-out",
            self.pem)

    def sign(self, name, folder):
        request, extensions = folder / "csr", folder / "ext"
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", f"/CN={name}", "-keyout", folder / f"{name}.key", "-out", request)
        extensions.write_text(f"subjectAltName=DNS:{name}\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key,
            "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out",
            folder / f"{name}.crt")

"""What the service manager gives to the daemon, and where the host's loggers find what it says."""

import os
import re
import socket

import pytest

from lab import SBINDIR, Daemon, run, wait_for
from test_gateways import A, B, Gateways

# A /dev and a /run whose loggers are the test. Devices are bound one by one.
LOGGERS = """
mkdir -p /run/dev /run/systemd/journal
mount --rbind /dev /run/dev
mount -t tmpfs -o mode=0755 tmpfs /dev
mkdir /dev/net
for name in null zero full random urandom net/tun; do
	touch /dev/$name
	mount --bind /run/dev/$name /dev/$name
done
ln -s "$LAB_LOGGER" /dev/log
ln -s "$LAB_LOGGER" /run/systemd/journal/socket
exec "$@"
"""


class Managed(Daemon):
    """A warrend with what `env` says, and with loggers at the path that it names."""

    def __init__(self, host, yaml, env):
        self.env = {**os.environ, **env}
        super().__init__(host, yaml)

    def start(self, wait=True):
        self.proc = self.host.start(
            "sh", "-ec", LOGGERS, "sh", SBINDIR / "warrend", "--config", self.config, "--state",
            self.state_dir, "--socket", self.socket, *self.args, env=self.env,
            log=self.dir / "warrend.log")
        if wait:
            self.ready()


class Logger:
    """A datagram socket that anyone may write to, as those of the loggers are."""

    def __init__(self, path):
        self.path = path
        self.lines = []
        self.open()

    def open(self):
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(str(self.path))
        self.path.chmod(0o666)

    def restart(self):
        self.socket.close()
        self.open()

    def has(self, pattern):
        try:
            while True:
                self.lines.append(self.socket.recv(65536).decode())
        except BlockingIOError:
            pass
        return any(re.fullmatch(pattern, line, re.S) for line in self.lines)


# RFC 3164 with facility "daemon"; the journal's own form, a variable a line.
FORMS = {
    "syslog": r"<29>[A-Z][a-z]{2} [ 0-9]\d \d\d:\d\d:\d\d warren\[\d+\]: %s: [^\n]+",
    "journal": r"PRIORITY=5\nSYSLOG_IDENTIFIER=warren\nWARREN_PLUGIN=%s\nMESSAGE=%s: [^\n]+\n",
}


def pattern(target, plugin):
    return FORMS[target].replace("%s", plugin)


@pytest.mark.parametrize("target", ["syslog", "journal"])
def test_the_log_goes_where_it_is_told(lab, target):
    """Also after the logger was restarted: what is lost is what was said in between."""
    lab.dir.chmod(0o711)
    logger = Logger(lab.dir / "logger")
    daemon = Managed(lab.host("a"), f"log: {{target: {target}}}\nidentity: {{}}\n",
                     {"LAB_LOGGER": str(logger.path)})
    wait_for("the first line", lambda: logger.has(pattern(target, "[a-z]+")))
    logger.restart()
    daemon.cli("log", "level", "notice")
    wait_for("a line after the restart", lambda: logger.has(r".*log level of all is now notice.*"))
    assert daemon.stop() == 0


def test_a_secret_that_the_service_manager_gives(lab, pair):
    """LoadCredential=: a folder that root alone can enter, named in the environment."""
    folder = lab.dir / "credentials"
    folder.mkdir(0o700)
    (folder / "psk").write_text(run("wg", "genpsk").stdout)
    g = Gateways(lab, pair)
    g.db.stop()
    psk = lab.secret("psk", (folder / "psk").read_text().strip())
    for daemon, key, reference in ((g.da, g.key_b, f"{{file: {psk}}}"),
                                   (g.db, g.key_a, "{credential: psk}")):
        name, own, other = ("a", g.key_a, ("gw-b", key, B, "192.0.2.2:41641")) \
            if daemon is g.da else ("b", g.key_b, ("gw-a", key, A, "192.0.2.1:41641"))
        text = g.yaml(name, own, A if name == "a" else B, [other])
        daemon.write(text.replace("allowed-ips", f"psk: {reference}, allowed-ips"))
    assert g.da.cli("reload").returncode == 0
    g.db = Managed(g.b, g.db.config.read_text(), {
        "CREDENTIALS_DIRECTORY": str(folder), "LAB_LOGGER": "/nonexistent"})
    g.a.pings(B, timeout=10)
    text = g.db.config.read_text()
    g.db.write(text.replace("credential: psk", "credential: other"))
    done = g.db.cli("reload", check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(rf"{g.db.config}:\d+:\d+: .*credential other", done.stderr), done.stderr
    g.a.pings(B)

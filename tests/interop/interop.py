"""A tailnet of stock programs for the interop tests: coordinator, tsnet nodes, tailscaled.

Hosts and daemons are those of tests/lab. Every host is on one switch, whose namespace is also their
default route (the stock client thinks that it is offline without one) and where the control server
listens.
"""

import json
import os
import pathlib
import subprocess
import sys
import threading

LAB = pathlib.Path(__file__).resolve().parent.parent / "lab"
sys.path.insert(0, str(LAB))

# pylint: disable-next=wrong-import-position
from lab import PRIVATE_ETC, Daemon, Proc, need, run, wait_for

BIN = pathlib.Path(os.environ.get("WARREN_INTEROP_BIN", "/nonexistent"))
# Of the installed tree, and of the tests.
PLUGINS = [pathlib.Path(os.environ.get(name, "/nonexistent"))
           for name in ("WARREN_PLUGINDIR", "WARREN_TEST_PLUGINDIR")]
PORT = 41641
SINK = 7    # tsnetnode's
STOCK_ENV = dict(os.environ, TS_NO_LOGS_NO_SUPPORT="true", TS_DEBUG_FIREWALL_MODE="nftables")


class Failed(AssertionError):
    """A program answered a command with an error."""


class Talk:
    """A program that is driven by JSON lines; see coordinator and tsnetnode."""

    def __init__(self, host, name, *argv, **env):
        self.log = host.lab.dir / f"{host.name}-{name}.log"
        self.argv = [str(BIN / name), *(str(a) for a in argv)]
        wrapped = ["unshare", "-m", "sh", "-ec", PRIVATE_ETC, "sh", *self.argv]
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(host.argv(*wrapped), stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=log, text=True,
                                          env={**STOCK_ENV, **env})
        self.pid = self.popen.pid
        self.lock = threading.Lock()
        host.lab.procs.append(self)

    def answer(self):
        line = self.popen.stdout.readline()
        assert line, f"{self.argv[0]} ended:\n" + "\n".join(self.output().splitlines()[-30:])
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(f"{pathlib.Path(self.argv[0]).name}: {reply['error']}")
        return reply["answer"]

    def ask(self, do, **arguments):
        with self.lock:
            self.popen.stdin.write(json.dumps({"Do": do, **arguments}) + "\n")
            self.popen.stdin.flush()
            return self.answer()

    def output(self):
        return self.log.read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def kill(self, sig=9):
        if self.alive():
            os.kill(self.pid, sig)


class Coordinator(Talk):
    """The stock test control server, on the switch."""

    def __init__(self, net, *options, port=8080, url=None, listen=None, tls=""):
        self.url = url or f"http://{net.CONTROL}:{port}"
        self.ca = net.lab.dir / "ca.pem"
        listen = f":{port}" if listen is None else listen
        super().__init__(net.switch, "coordinator", "-listen", listen, "-listen-tls", tls,
                         "-ca", self.ca, "-url", self.url, "-relay", net.GATEWAY4, *options)
        for where in filter(None, (listen, tls)):
            wait_for(f"coordinator listens at {where}",
                     lambda where=where: f"{where} " in net.switch.run("ss", "-ltn").stdout)

    def nodes(self):
        return self.ask("nodes") or []

    def node(self, name):
        """The node of that host name, or None."""
        found = [n for n in self.nodes() if n["Hostinfo"].get("Hostname") == name]
        assert len(found) < 2, f"two nodes are called {name}"
        return found[0] if found else None

    def key(self, name):
        node = self.node(name)
        assert node, f"no node is called {name}"
        return node["Key"]

    def await_poll(self, name, timeout=15):
        wait_for(f"{name} registers", lambda: self.node(name), timeout)
        self.ask("await", Key=self.key(name), Seconds=timeout)

    def requests(self, kind):
        """Requests so far, parsed: "map" or "tailcfg.RegisterRequest"."""
        found, text, decoder = [], self.output(), json.JSONDecoder()
        mark = " map " if kind == "map" else f" Got {kind}: "
        at = text.find(mark)
        while at >= 0:
            start = at + len(mark)
            value, _ = decoder.raw_decode(text, start)
            found.append(value)
            at = text.find(mark, start)
        return found


class Ours(Daemon):
    """Our own coordinator, on the switch; relays are the stock server's."""

    DOMAIN = "tail.test"

    def __init__(self, net, policy=None, extra=""):
        self.net = net
        self.url = f"http://{net.CONTROL}:8080"
        self.relay = Coordinator(net, port=8090)
        relays = net.lab.dir / "relays.json"
        relays.write_text(json.dumps(self.relay.ask("relays")))
        self.policy = net.lab.dir / "policy.hujson"
        if policy:
            self.set_policy(policy)
            extra = f"\n  policy: {self.policy}" + extra
        super().__init__(net.switch, f"coordinator:\n  url: {self.url}\n"
                         f"  listen: 0.0.0.0:8080\n  base-domain: {self.DOMAIN}\n"
                         f"  derp-map: {relays}{extra}\n", name="-coordinator")

    def set_policy(self, policy):
        """In force at once, if it is accepted."""
        temporary = self.policy.with_suffix(".new")
        temporary.write_text(json.dumps(policy))
        temporary.rename(self.policy)

    def user(self, login):
        self.cli("user", "create", login)
        return login

    def auth_key(self, *options):
        return self.json("key", "create", *options)["secret"]

    def nodes(self):
        return self.json("node", "list")["nodes"]

    def node(self, name):
        return next((n for n in self.nodes() if n["name"] == name), None)


class Tsnet(Talk):
    """A tsnet node on a host of its own, joined."""

    def __init__(self, net, name="tsnet", host=None, auth_key="tskey-auth-any"):
        self.name, self.host = name, host or net.host(name)
        super().__init__(self.host, "tsnetnode", "-control", net.control.url, "-hostname", name,
                         "-auth-key", auth_key, "-dir", net.lab.dir / f"state-{name}")
        joined = self.answer()
        self.key, (self.ip4, self.ip6) = joined["key"], joined["addresses"]

    def ping(self, address, kind="ICMP", seconds=2):
        return self.ask("ping", Address=address, Kind=kind, Seconds=seconds)

    def pings(self, address, kind="ICMP", timeout=15.0):
        def answered():
            try:
                return self.ping(address, kind)
            except Failed:
                return None
        return wait_for(f"tsnet pings {address}", answered, timeout)

    def reaches(self, address, port, seconds=2):
        try:
            self.ask("dial", Address=address, Port=port, Seconds=seconds)
            return True
        except Failed:
            return False

    def sends(self, address, port, mib):
        return self.ask("send", Address=address, Port=port, MiB=mib, Seconds=100)["seconds"]


class Tailscaled:
    """A stock tailscaled with a kernel TUN, on a host of its own."""

    def __init__(self, net, name="stock", up=("--auth-key=tskey-auth-any",), programs=BIN, **env):
        self.net, self.name, self.host = net, name, net.host(name)
        self.programs = programs
        state = net.lab.dir / f"state-{name}"
        self.state, self.env = state, {**STOCK_ENV, **env}
        self.socket = state / "tailscaled.sock"
        state.mkdir()
        self.restart()
        if up is not None:
            self.up(*up)

    def restart(self):
        self.socket.unlink(missing_ok=True)
        self.proc = self.host.start(self.programs / "tailscaled", f"--statedir={self.state}",
                                    f"--socket={self.socket}", "--tun=tailscale0",
                                    f"--port={PORT}", "--no-logs-no-support", env=self.env)
        wait_for("tailscaled listens", self.socket.exists)

    def log_in(self, *options):
        """`tailscale up` by a user who opens the link."""
        up = self.host.start(self.programs / "tailscale", f"--socket={self.socket}", "up",
                             f"--login-server={self.net.control.url}", f"--hostname={self.name}",
                             "--timeout=30s", *options, private=False)
        url = wait_for("a link to log in with", lambda: self.status()["AuthURL"])
        self.net.control.ask("auth", URL=url)
        assert up.popen.wait(30) == 0, up.output()
        self.ip4, self.ip6 = self.cli("ip").stdout.split()

    def cli(self, *argv, **kw):
        return self.host.run(self.programs / "tailscale", f"--socket={self.socket}", *argv, **kw)

    def up(self, *options):
        self.cli("up", f"--login-server={self.net.control.url}", f"--hostname={self.name}",
                 "--timeout=30s", *options)
        self.ip4, self.ip6 = self.cli("ip").stdout.split()

    def start_up(self, *options, timeout="30s"):
        """`tailscale up`, which the test waits for."""
        return self.host.start(BIN / "tailscale", f"--socket={self.socket}", "up",
                               f"--login-server={self.net.control.url}",
                               f"--hostname={self.name}", f"--timeout={timeout}", *options,
                               private=False)

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def prefs(self):
        return json.loads(self.cli("debug", "prefs").stdout)

    def peer(self, name):
        """What the status says of the peer of that host name, or None."""
        peers = (self.status()["Peer"] or {}).values()
        return next((p for p in peers if p["HostName"] == name), None)

    def pings(self, address, timeout=15.0):
        self.host.pings(address, timeout)


class Warren(Daemon):
    """Our daemon on a host of its own; its section `control` is all that joins it."""

    def __init__(self, net, name="warren", control="", extra="", auth_key="tskey-auth-any",
                 host=None, joined=True, args=()):
        self.net, self.name = net, name
        if auth_key:
            control += f"\n  auth-key: {{file: {net.lab.secret(f'{name}.authkey', auth_key)}}}"
        super().__init__(host or net.host(name), f"node: {{hostname: {name}}}\n"
                         f"wg: {{port: {PORT}}}\n"
                         f"control:\n  url: {net.control.url}{control}\n{extra}", args=args)
        if joined:
            self.joined()

    def control(self):
        return self.status()["control"]

    def auth_url(self, timeout=15):
        return wait_for("a link to log in with", lambda: self.control().get("auth_url"), timeout)

    def give(self, auth_key):
        """Another auth key in its file, and a reload."""
        self.net.lab.secret(f"{self.name}.authkey", auth_key)
        self.cli("reload")

    def joined(self, timeout=15):
        """Waits until it runs, and has its addresses."""
        wait_for(f"{self.name} joins", lambda: self.control()["state"] == "Running", timeout)
        wait_for("the server knows its endpoints",
                 lambda: self.net.control.node(self.name).get("Endpoints"), timeout)
        self.ip4, self.ip6 = (
            prefix.partition("/")[0] for prefix in self.net.control.node(self.name)["Addresses"])
        wait_for("the addresses are there",
                 lambda: self.ip6 in self.host.ip("-o", "addr").stdout, timeout)

    def pings(self, address, timeout=15.0):
        self.host.pings(address, timeout)


class Tailnet:
    """One test's switch, coordinator and nodes; addresses below 192.0.2.0/24, 2001:db8::/64."""

    GATEWAY4, GATEWAY6 = "192.0.2.1", "2001:db8::1"
    # A private address: at others the stock client insists on TLS when it has to connect again.
    CONTROL = "10.54.17.1"

    def __init__(self, lab, *options, **listeners):
        self.lab = lab
        self.switch = lab.host("switch")
        # An address of its own: else it has the lowest of its ports', and with every host that
        # comes those that were there may send to one that is nobody's any more.
        self.switch.ip("link", "add", "br0", "address", "02:00:00:00:00:01",
                       "type", "bridge", "forward_delay", "0")
        self.switch.ip("link", "set", "br0", "addrgenmode", "none")
        self.switch.ip("link", "set", "br0", "up")
        self.switch.ip("addr", "add", f"{self.GATEWAY4}/24", "dev", "br0")
        self.switch.ip("addr", "add", f"{self.CONTROL}/32", "dev", "br0")
        self.switch.ip("addr", "add", f"{self.GATEWAY6}/64", "dev", "br0", "nodad")
        self.count = 1
        self.control = None
        self.begin(*options, **listeners)

    def begin(self, *options, **listeners):
        self.restart(*options, **listeners)

    def restart(self, *options, **listeners):
        """A (new) control server, which knows nobody."""
        if self.control:
            self.control.kill()
            self.control.popen.wait(5)
        self.control = Coordinator(self, *options, **listeners)

    def host(self, name):
        host = self.lab.host(name)
        self.count += 1
        host.ip4, host.ip6 = f"192.0.2.{self.count}", f"2001:db8::{self.count}"
        port = f"{self.lab.prefix}p{self.count}"
        host.ip("link", "add", "eth0", "type", "veth", "peer", "name", port,
                "netns", self.switch.ns)
        self.switch.ip("link", "set", port, "master", "br0", "addrgenmode", "none")
        self.switch.ip("link", "set", port, "up")
        host.ip("link", "set", "eth0", "addrgenmode", "none")
        host.ip("link", "set", "eth0", "up")
        host.ip("addr", "add", f"{host.ip4}/24", "dev", "eth0")
        host.ip("addr", "add", f"{host.ip6}/64", "dev", "eth0", "nodad")
        host.ip("route", "add", "default", "via", self.GATEWAY4)
        host.ip("route", "add", "default", "via", self.GATEWAY6)
        return host


class OwnTailnet(Tailnet):
    """The same with our coordinator."""

    def begin(self, *options):
        self.control = Ours(self, *options)


def kernel_sink(host, address, port):
    """stream.py of the lab receives one stream on that host; returns the process."""
    log = host.lab.dir / f"sink-{host.name}-{len(host.lab.procs)}.log"
    proc = host.start("/usr/bin/python3", LAB / "stream.py", "serve", address, port,
                      private=False, log=log)
    wait_for("stream.py listens", lambda: "listening" in proc.output())
    return proc


def kernel_sends(host, address, port, mib):
    """stream.py sends and compares checksums."""
    return host.run("/usr/bin/python3", LAB / "stream.py", "send", address, port, mib,
                    timeout=150).stdout


def kernel_reaches(host, address, port, seconds=2):
    code = f"import socket; socket.create_connection(('{address}', {port}), {seconds}).close()"
    return host.run("/usr/bin/python3", "-c", code, check=False).returncode == 0


__all__ = ["BIN", "PORT", "SINK", "Coordinator", "Daemon", "Failed", "Ours", "OwnTailnet", "Proc",
           "Tailnet",
           "Tailscaled", "Talk", "Tsnet", "Warren", "kernel_reaches", "kernel_sends",
           "kernel_sink", "need", "run", "wait_for"]

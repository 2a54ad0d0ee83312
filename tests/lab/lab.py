"""Namespaces, wires, daemons and peers for the lab tests.

Everything is made below one random prefix and removed by Lab.close(), also after a failure.
Traffic stays inside the namespaces. Daemons run in a mount namespace of their own with a private
/etc and /run, and are ended by pid. Paths of the installed tree come from the environment, which
`make check-lab` sets.
"""

import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import subprocess
import time

BINDIR = pathlib.Path(os.environ.get("WARREN_BINDIR", "/usr/local/bin"))
SBINDIR = pathlib.Path(os.environ.get("WARREN_SBINDIR", "/usr/local/sbin"))

# How a report of a program built with sanitizers begins; the program may have been restarted since.
SANITIZER = re.compile(r"(Address|Leak|Thread)Sanitizer|: runtime error: ")

# The engine runs as this user and group; no account of that number is needed.
ENGINE_USER = "64321:64321"

PRIVATE_ETC = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/ov/u /run/ov/w /run/netns /run/wireguard
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/ov/u,workdir=/run/ov/w /etc
printf %s "$LAB_HOSTS" >>/etc/hosts
if test -n "$LAB_TRUSTED"; then
	cat "$LAB_TRUSTED" >>/etc/ssl/certs/ca-certificates.crt
	cp "$LAB_TRUSTED" "/etc/ssl/certs/$(openssl x509 -noout -hash -in "$LAB_TRUSTED").0"
fi
exec "$@"
"""


def run(*argv, check=True, input=None, timeout=60, env=None):
    """Runs a program to its end and returns its completed process, output as text."""
    done = subprocess.run([str(a) for a in argv], input=input, text=True, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert not SANITIZER.search(done.stderr), f"{' '.join(map(str, argv))}:\n{done.stderr}"
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


def wait_for(what, test, timeout=10.0, step=0.02):
    """Waits until test() is true and returns its value; fails with a sentence after timeout."""
    end = time.monotonic() + timeout
    while True:
        value = test()
        if value:
            return value
        assert time.monotonic() < end, f"not within {timeout} s: {what}"
        time.sleep(step)


class Proc:
    """A started program with its output in a file."""

    def __init__(self, argv, log, **kw):
        self.log = pathlib.Path(log)
        self.argv = [str(a) for a in argv]
        kw.setdefault("stdin", subprocess.DEVNULL)
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(self.argv, stdout=out, stderr=subprocess.STDOUT, **kw)
        self.pid = self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def output(self):
        return self.log.read_text(errors="replace")

    def kill(self, sig=signal.SIGKILL):
        if self.alive():
            os.kill(self.pid, sig)

    def stop(self, timeout=15):
        """SIGTERM, then SIGKILL; returns the exit status."""
        self.kill(signal.SIGTERM)
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            self.popen.wait(5)
            raise AssertionError(f"{self.argv[0]} did not stop in {timeout} s:\n{self.output()}")


class Host:
    """A network namespace."""

    def __init__(self, lab, name):
        self.lab = lab
        self.name = name
        self.ns = f"{lab.prefix}-{name}"
        # name: addresses (several by comma), for the private /etc/hosts of what starts here
        self.names = {}
        self.trusted = ""       # a file with an authority that programs trust which start here
        run("ip", "netns", "add", self.ns)
        self.ip("link", "set", "lo", "up")

    def argv(self, *argv):
        return ["ip", "netns", "exec", self.ns, *argv]

    def run(self, *argv, **kw):
        return run(*self.argv(*argv), **kw)

    def ip(self, *argv, **kw):
        return run("ip", "-n", self.ns, *argv, **kw)

    def sysctl(self, name, value):
        self.run("sysctl", "-qw", f"{name}={value}")

    def start(self, *argv, log=None, private=True, **kw):
        """Starts a program here, with a private /etc and /run unless told otherwise."""
        log = log or self.lab.dir / f"{self.name}-{pathlib.Path(str(argv[0])).name}.log"
        full = list(argv)
        if private:
            full = ["unshare", "-m", "sh", "-ec", PRIVATE_ETC, "sh", *full]
            lines = "".join(f"{address} {name}\n" for name, addresses in self.names.items()
                            for address in addresses.split(","))
            kw["env"] = {**kw.get("env", os.environ), "LAB_HOSTS": lines,
                         "LAB_TRUSTED": str(self.trusted)}
        proc = Proc(self.argv(*full), log, **kw)
        self.lab.procs.append(proc)
        return proc

    def ping(self, address, count=1, wait=2, size=56, interval=0.2, check=True):
        return self.run("ping", "-n", "-q", "-c", count, "-W", wait, "-i", interval, "-s", size,
                        address, check=check, timeout=count * (wait + interval) + 10)

    def pings(self, address, timeout=10.0):
        """Waits until a ping is answered."""
        wait_for(f"{self.name} pings {address}",
                 lambda: self.ping(address, wait=1, check=False).returncode == 0, timeout)

    def state(self):
        """What a daemon could leave behind in this namespace, for a before and after."""
        return {
            "link": self.ip("-j", "link").stdout and sorted(
                link["ifname"] for link in json.loads(self.ip("-j", "link").stdout)),
            "addr": self.ip("-o", "addr").stdout,
            "rule4": self.ip("-4", "rule").stdout,
            "rule6": self.ip("-6", "rule").stdout,
            "route4": self.ip("-4", "route", "show", "table", "all").stdout,
            "route6": self.ip("-6", "route", "show", "table", "all").stdout,
            "nft": self.run("nft", "list", "ruleset").stdout,
        }


class Daemon:
    """A warrend in a namespace, described by YAML text."""

    def __init__(self, host, yaml, name="", args=(), wait=True):
        self.host = host
        self.dir = host.lab.dir / f"{host.name}{name}"
        self.dir.mkdir(exist_ok=True)
        self.config = self.dir / "warren.yaml"
        self.socket = self.dir / "warrend.sock"
        self.state_dir = self.dir / "state"
        self.args = list(args)
        self.write(yaml)
        self.proc = None
        self.start(wait=wait)

    def write(self, yaml):
        if "system:" not in yaml:
            yaml += f'\nsystem: {{user: "{ENGINE_USER}"}}\n'
        temporary = self.config.with_suffix(".new")
        temporary.write_text(yaml)
        temporary.rename(self.config)

    def start(self, wait=True):
        self.proc = self.host.start(SBINDIR / "warrend", "--config", self.config, "--state",
                                    self.state_dir, "--socket", self.socket, *self.args,
                                    log=self.dir / "warrend.log")
        if wait:
            self.ready()

    def ready(self, timeout=10):
        def answered():
            assert self.proc.alive(), f"warrend ended:\n{self.proc.output()}"
            status = self.cli("status", "--json", check=False)
            return status.returncode == 0 and not json.loads(status.stdout)["daemon"]["busy"]
        wait_for("warrend answers", answered, timeout)

    def cli(self, *argv, **kw):
        return self.host.run(BINDIR / "warren", "--socket", self.socket, *argv, **kw)

    def json(self, *argv):
        return json.loads(self.cli(*argv, "--json").stdout)

    def status(self):
        return self.json("status")

    def metric(self, name):
        return int(re.search(rf"^{re.escape(name)} (\d+)$", self.cli("metrics").stdout, re.M)[1])

    def engine_pid(self):
        children = pathlib.Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children")
        pids = [int(p) for p in children.read_text().split()]
        for pid in pids:
            try:
                name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:     # it ended in between
                continue
            if name == "warren-engine":
                return pid
        return None

    def log(self):
        return self.proc.output()

    def stop(self):
        return self.proc.stop()


class WireGuardGo:
    """wireguard-go from Debian, configured with wg(8)."""

    def __init__(self, host, address, port=51820, private=None, mtu=1420):
        self.host = host
        self.ifname = f"wg{secrets.token_hex(3)}"
        self.port = port
        self.private = private or genkey()
        self.public = pubkey(self.private)
        env = dict(os.environ, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD="1",
                   LOG_LEVEL="verbose")
        self.proc = host.start("wireguard-go", "-f", self.ifname, private=False, env=env,
                               log=host.lab.dir / f"{host.name}-{self.ifname}.log")
        self.control = pathlib.Path(f"/var/run/wireguard/{self.ifname}.sock")
        wait_for("wireguard-go listens", self.control.exists)
        self.set("listen-port", port, "private-key", self._file("key", self.private))
        for prefix in [address] if isinstance(address, str) else address:
            host.ip("addr", "add", prefix, "dev", self.ifname)
        host.ip("link", "set", self.ifname, "mtu", mtu, "up")

    def _file(self, name, text):
        path = self.host.lab.dir / f"{self.ifname}-{name}"
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    def set(self, *argv):
        self.host.run("wg", "set", self.ifname, *argv)

    def peer(self, key, allowed, endpoint=None, psk=None, keepalive=None):
        argv = ["peer", key, "allowed-ips", ",".join(allowed)]
        if endpoint:
            argv += ["endpoint", endpoint]
        if psk:
            argv += ["preshared-key", self._file("psk", psk)]
        if keepalive is not None:
            argv += ["persistent-keepalive", keepalive]
        self.set(*argv)
        for prefix in allowed:
            self.host.ip("route", "replace", prefix, "dev", self.ifname)

    def dump(self):
        """{public key: {endpoint, handshake, rx, tx}} of its peers."""
        lines = self.host.run("wg", "show", self.ifname, "dump").stdout.splitlines()[1:]
        rows = [line.split("\t") for line in lines]
        return {r[0]: {"endpoint": r[2], "handshake": int(r[4]), "rx": int(r[5]), "tx": int(r[6])}
                for r in rows}

    def stop(self):
        self.proc.stop()
        self.control.unlink(missing_ok=True)


def genkey():
    return run("wg", "genkey").stdout.strip()


def pubkey(private):
    return run("wg", "pubkey", input=private + "\n").stdout.strip()


def genpsk():
    return run("wg", "genpsk").stdout.strip()


class Lab:
    """One test's network."""

    def __init__(self, directory):
        self.prefix = f"wr{secrets.token_hex(3)}"
        self.dir = pathlib.Path(directory)
        self.dir.chmod(0o755)
        self.procs = []
        self.hosts = []
        self.links = 0

    def host(self, name):
        host = Host(self, name)
        self.hosts.append(host)
        return host

    def wire(self, a, b, addr_a, addr_b, mtu=1500):
        """A veth pair between two hosts; addresses with prefix length, several by comma."""
        n = self.links
        self.links += 1
        names = f"{self.prefix}a{n}", f"{self.prefix}b{n}"
        a.ip("link", "add", names[0], "type", "veth", "peer", "name", names[1], "netns", b.ns)
        for host, name, addrs in ((a, names[0], addr_a), (b, names[1], addr_b)):
            for addr in addrs.split(","):
                host.ip("addr", "add", addr, "dev", name, *(["nodad"] if ":" in addr else []))
            # No link-local address: it would come later than the first look at the namespace.
            host.ip("link", "set", name, "addrgenmode", "none")
            host.ip("link", "set", name, "mtu", mtu, "up")
        return names

    def secret(self, name, text):
        """A file that only root can read."""
        path = self.dir / name
        path.write_text(text + "\n")
        path.chmod(0o600)
        return path

    def close(self):
        for proc in reversed(self.procs):
            proc.kill(signal.SIGTERM)
        for proc in reversed(self.procs):
            try:
                proc.popen.wait(5)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.popen.wait(5)
        for host in self.hosts:
            run("ip", "netns", "del", host.ns, check=False)

    def reports(self):
        """Logs with a report of a sanitizer."""
        return [log.name for log in sorted(self.dir.glob("**/*.log"))
                if SANITIZER.search(log.read_text(errors="replace"))]


def need(*programs):
    """The names of programs that are not installed."""
    return [p for p in programs if not shutil.which(p)]

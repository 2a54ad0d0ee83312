"""dns: the resolver at the service addresses, asked by dig, with unbound and dnsmasq behind it."""

import json
import os
import pathlib
import re
import signal
import sys

import pytest

from lab import SBINDIR, Daemon, genkey, pubkey, wait_for

A, B = "100.64.0.1", "100.64.0.2"
A6, B6 = "fd7a:115c:a1e0::1", "fd7a:115c:a1e0::2"
MAGIC, MAGIC6 = "100.100.100.100", "fd7a:115c:a1e0::53"
LAN = "203.0.113.1"
OUT = "203.0.113.2"             # unbound, outside of the network
DOMAIN = "tail.example.com"

UNBOUND = """
server:
    directory: ""
    chroot: ""
    username: ""
    pidfile: ""
    logfile: ""
    use-syslog: no
    log-queries: yes
    log-time-ascii: no
    verbosity: 1
    interface: {address}@{port}
    access-control: 0.0.0.0/0 allow
    module-config: "iterator"
    num-threads: 1
    local-zone: "." static
    local-zone: "example.org." static
    local-data: "example.org. 3600 IN SOA ns.example.org. root.example.org. 1 2 3 4 60"
    local-data: "www.example.org. 300 IN A 198.51.100.1"
    local-data: "www.example.org. 300 IN AAAA 2001:db8::1"
    local-data: 'txt.example.org. 300 IN TXT "one text"'
    local-data: "mx.example.org. 300 IN MX 10 mail.example.org."
    local-zone: "wild.example.org." redirect
    local-data: "wild.example.org. 300 IN A 198.51.100.2"
    local-data: "peer.example.org. 1 IN A 192.0.2.2"
    local-data: "1.100.51.198.in-addr.arpa. 300 IN PTR www.example.org."
"""
LARGE = "".join(f"    local-data: 'large.example.org. 300 IN TXT \"{n:02} {'x' * 200}\"'\n"
                for n in range(40))

# Answers by its script's wishes: a resolver that cannot be had from Debian.
FAKE = """
import socket, struct, sys
address, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind((address, port))
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other.bind((address, 0))
print("listening", flush=True)
def answer(query, last, flags=0x8180, ident=None, opt=b""):
    end = 12
    while query[end]:
        end += 1 + query[end]
    question = query[12:end + 5]
    ident = query[:2] if ident is None else ident
    head = ident + struct.pack(">5H", flags, 1, 1 if last else 0, 0, 1 if opt else 0)
    record = b"\\xc0\\x0c" + struct.pack(">2HIH", 1, 1, 300, 4) + bytes([198, 51, 100, last])
    return head + question + (record if last else b"") + opt
while True:
    query, client = sock.recvfrom(4096)
    has_opt = query[11] == 1
    print("query", "edns" if has_opt else "plain", client[1], query[:2].hex(), flush=True)
    if kind == "forger":
        wrong = bytes([query[0] ^ 1, query[1]])
        sock.sendto(answer(query, 66, ident=wrong), client)
        forged = bytearray(answer(query, 66))
        forged[13] ^= 1
        sock.sendto(bytes(forged), client)
        other.sendto(answer(query, 66), client)
        sock.sendto(answer(query, 66)[:20], client)
        sock.sendto(answer(query, 66, flags=0x0100), client)
        sock.sendto(answer(query, 7), client)
    elif kind == "old":
        sock.sendto(answer(query, 0, flags=0x8181) if has_opt else answer(query, 8), client)
    elif kind == "failing":
        sock.sendto(answer(query, 0, flags=0x8182), client)
"""


class Answer:
    def __init__(self, text):
        self.text = text
        status = re.search(r"status: (\w+)", text)
        self.status = status[1] if status else None
        flags = re.search(r"flags: ([\w ]*);", text)
        self.flags = flags[1].split() if flags else []
        section = re.search(r";; ANSWER SECTION:\n(.*?)\n\n", text, re.S)
        lines = section[1].split("\n") if section else []
        self.rows = [line.split(None, 4) for line in lines]
        self.data = sorted(row[4] for row in self.rows)
        self.tcp = "(TCP)" in text


def dig(host, name, rrtype="A", *options, server=MAGIC, check=True):
    done = host.run("dig", "+time=6", "+tries=1", f"@{server}", name, rrtype, *options,
                    check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return Answer(done.stdout)


def interface_of(host, address):
    """The interface that has an address."""
    links = json.loads(host.ip("-j", "addr").stdout)
    return next(link["ifname"] for link in links
                if any(one["local"] == address for one in link["addr_info"]))


class Names:
    """a with dns and b on a wire, and c on a's LAN, outside of the network, with a resolver."""

    def __init__(self, lab, dns=None, extra="", daemon=Daemon):
        self.lab = lab
        self.a, self.b, self.c = lab.host("a"), lab.host("b"), lab.host("c")
        lab.wire(self.a, self.b, "192.0.2.1/24", "192.0.2.2/24")
        lab.wire(self.a, self.c, f"{LAN}/24", f"{OUT}/24")
        self.keys = genkey(), genkey()
        self.unbound = self.start_unbound(self.c, OUT, 53, LARGE)
        self.da = daemon(self.a, self.yaml(dns or self.usual(), extra))
        self.db = Daemon(self.b, self.text("b", 1, B, B6, "self-a", A, A6, 1))
        self.b.pings(A)
        self.served()

    def usual(self, more=""):
        return f"{{domain: {DOMAIN}, upstream: [{OUT}]{more}}}"

    def yaml(self, dns, extra=""):
        return self.text("a", 0, A, A6, "nas", B, B6, 2) + f"dns: {dns}\n" + extra

    def text(self, name, own, addr, addr6, peer, other, other6, host):
        secret = self.lab.secret(f"{name}.key", self.keys[own])
        return (f"node: {{hostname: {name}}}\nidentity: {{node-key: {{file: {secret}}}}}\n"
                f"wg: {{port: 41641}}\nrouter: {{}}\n"
                f"static:\n  addresses: [{addr}/10, '{addr6}/48']\n  peers:\n"
                f"    {peer}: {{public-key: {pubkey(self.keys[1 - own])}, "
                f"allowed-ips: [{other}, '{other6}'], endpoint: '192.0.2.{host}:41641'}}\n")

    def served(self):
        def listens():
            mine = [l for l in self.da.status()["svcnet"]["listeners"] if l["owner"] == "dns"]
            return len(mine) == 2 and all(l["missing"] == 0 for l in mine)
        wait_for("the service addresses are served", listens, 30)

    def start_unbound(self, host, address, port, more=""):
        path = self.lab.dir / f"unbound-{host.name}.conf"
        path.write_text(UNBOUND.format(address=address, port=port) + more)
        proc = host.start("unbound", "-d", "-c", path, private=False,
                          log=self.lab.dir / f"unbound-{host.name}.log")
        wait_for("unbound serves", lambda: "start of service" in proc.output())
        return proc

    def start_dnsmasq(self, host, address, *options, port=53):
        proc = host.start("dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "--no-resolv",
                          "--no-hosts", "--bind-interfaces", f"--listen-address={address}",
                          f"--port={port}", "--log-queries", "--log-facility=-", "--pid-file=",
                          *options, private=False,
                          log=self.lab.dir / f"dnsmasq-{host.name}-{port}.log")
        wait_for("dnsmasq serves", lambda: "started" in proc.output())
        return proc

    def start_fake(self, host, address, port, kind):
        proc = host.start(sys.executable, "-c", FAKE, address, port, kind, private=False,
                          log=self.lab.dir / f"fake-{kind}.log")
        wait_for("the resolver listens", lambda: "listening" in proc.output())
        return proc

    def asked(self, name):
        """How often unbound was asked for a name."""
        return len(re.findall(rf" {re.escape(name)}\. \w+ IN$", self.unbound.output(), re.M))

    def reload(self, dns):
        self.da.write(self.yaml(dns))
        self.da.cli("reload")


def test_other_numbers_than_the_usual_ones(lab):
    """The service address is no part of that network, and has to be led to all the same."""
    host = lab.host("a")
    daemon = Daemon(host, "identity: {}\nwg: {}\nrouter: {}\n"
                    "static:\n  addresses: [10.90.0.1/24, 'fd90::1/64']\n  peers:\n"
                    f"    nas: {{public-key: {pubkey(genkey())}, allowed-ips: [10.90.0.2]}}\n"
                    f"dns: {{domain: {DOMAIN}, upstream: [{OUT}]}}\n")
    wait_for("it serves", lambda: any(l["owner"] == "dns" and l["missing"] == 0
                                      for l in daemon.status()["svcnet"]["listeners"]))
    for server in (MAGIC, MAGIC6):
        wait_for("an answer", lambda: dig(host, f"nas.{DOMAIN}", server=server).data
                 == ["10.90.0.2"])


def test_names_of_nodes(lab):
    n = Names(lab)
    for server in (MAGIC, MAGIC6):
        for how in ("+notcp", "+tcp"):
            for name in (f"nas.{DOMAIN}", f"NAS.{DOMAIN.upper()}.", "nas"):
                answer = dig(n.a, name, "A", how, server=server)
                assert (answer.status, answer.data) == ("NOERROR", [B]), answer.text
                assert "aa" in answer.flags and "ra" in answer.flags
                assert answer.rows[0][0] == name.rstrip(".") + ".", "as it was written"
    assert dig(n.a, f"a.{DOMAIN}").data == [A]
    assert dig(n.a, f"nas.{DOMAIN}", "AAAA").status == "NOERROR"
    for address in (B, B6):
        assert dig(n.a, "-x", address).data == [f"nas.{DOMAIN}."]
    assert dig(n.a, f"10-1-1-16-via-7.{DOMAIN}", "AAAA").data == \
        ["fd7a:115c:a1e0:b1a:0:7:a01:110"]
    # What does not exist does not, whoever would know better outside.
    for name, rrtype in ((f"nobody.{DOMAIN}", "A"), (f"nobody.{DOMAIN}", "TXT"),
                         ("9.9.64.100.in-addr.arpa", "PTR"), ("x.onion", "A"),
                         ("use-application-dns.net", "A")):
        assert dig(n.a, name, rrtype).status == "NXDOMAIN"
        assert n.asked(name) == 0
    answer = dig(n.a, f"nobody.{DOMAIN}")
    assert f"{DOMAIN}.\t" in answer.text and "SOA" in answer.text
    # Peers and the LAN have no part in it.
    assert dig(n.b, f"nas.{DOMAIN}", "A", "+time=1", check=False).status is None
    n.c.ip("route", "add", MAGIC, "via", LAN)
    assert dig(n.c, f"nas.{DOMAIN}", "A", "+time=1", check=False).status is None


def test_what_others_know(lab):
    n = Names(lab)
    assert dig(n.a, "www.example.org").data == ["198.51.100.1"]
    assert dig(n.a, "www.example.org", "AAAA").data == ["2001:db8::1"]
    assert dig(n.a, "txt.example.org", "TXT").data == ['"one text"']
    assert dig(n.a, "mx.example.org", "MX", server=MAGIC6).data == ["10 mail.example.org."]
    assert dig(n.a, "-x", "198.51.100.1").data == ["www.example.org."]
    # It is kept, and its life runs out.
    before = n.asked("www.example.org")
    first = dig(n.a, "WWW.example.org")
    assert first.rows[0][0] == "WWW.example.org." and int(first.rows[0][1]) <= 300
    wait_for("its life runs out", lambda: int(dig(n.a, "www.example.org").rows[0][1]) < 300, 20)
    assert n.asked("www.example.org") == before
    assert n.da.metric('warren_dns_queries{answer="cache"}') >= 2
    # So is that there is none.
    for _ in range(2):
        answer = dig(n.a, "nobody.example.org")
        assert answer.status == "NXDOMAIN" and "SOA" in answer.text
    assert n.asked("nobody.example.org") == 1
    # What does not fit is asked for by TCP, on both sides.
    answer = dig(n.a, "large.example.org", "TXT", "+bufsize=1232")
    assert answer.tcp and len(answer.data) == 40
    answer = dig(n.a, "large.example.org", "TXT", "+noedns", "+ignore")
    assert "tc" in answer.flags and answer.data == [] and "(UDP)" in answer.text
    assert n.da.metric("warren_dns_tcp_retries") == 1
    # Many at once on one connection, and over again.
    names = [f"nas.{DOMAIN}", "www.example.org", "txt.example.org", f"a.{DOMAIN}"]
    done = n.a.run("kdig", "+tcp", "+keepopen", f"@{MAGIC}", *names * 5)
    assert done.stdout.count("status: NOERROR") == 20


def test_a_thousand_at_once(lab):
    n = Names(lab)
    lines = "".join(f"{name} {kind}\n" for name, kind in (
        (f"nas.{DOMAIN}", "A"), ("www.example.org", "A"), (f"nobody.{DOMAIN}", "A"),
        ("www.example.org", "AAAA"), ("nobody.example.org", "A")))
    lines += "".join(f"name-{i}.example.org A\n" for i in range(500))
    path = lab.dir / "queries"
    path.write_text(lines)
    done = n.a.run("dnsperf", "-s", MAGIC, "-d", path, "-n", 20, "-c", 10, "-q", 100, timeout=120)
    text = done.stdout
    assert re.search(r"Queries lost: +0 ", text), text
    assert re.search(r"Queries completed: +10100 ", text), text
    # The same question was asked once, whoever wanted to know.
    assert all(n.asked(f"name-{i}.example.org") == 1 for i in range(0, 500, 50))
    assert n.da.status()["dns"]["asking"] == 0


def test_split_by_the_longest_name(lab):
    n = Names(lab)
    inside = n.start_dnsmasq(n.b, B, "--address=/corp.example.com/10.1.2.3",
                             "--txt-record=big.corp.example.com," +
                             ",".join("y" * 250 for _ in range(12)))
    lan = n.start_dnsmasq(n.c, OUT, "--address=/lan.corp.example.com/10.9.9.9", port=5353)
    n.reload(n.usual(f", split: {{corp.example.com: [{B}], lan.corp.example.com: "
                     f"['{OUT}:5353'], void.example.com: []}}"))
    # The first packet to b may have to wait for its handshake.
    wait_for("b is asked", lambda: dig(n.a, "wiki.corp.example.com").data == ["10.1.2.3"], 20)
    assert dig(n.a, "x.lan.corp.example.com").data == ["10.9.9.9"]
    assert dig(n.a, "x.void.example.com").status == "NXDOMAIN"
    assert "wiki.corp.example.com" in inside.output() and "from 100.64.0.1" in inside.output()
    assert "x.lan.corp.example.com" in lan.output()
    answer = dig(n.a, "big.corp.example.com", "TXT")
    assert answer.tcp and len(answer.data) == 1 and len(answer.data[0]) > 3000
    # Where the one that should know is silent, nobody else is asked.
    inside.kill(signal.SIGSTOP)
    assert dig(n.a, "other.corp.example.com").status == "SERVFAIL"
    for name in ("wiki.corp.example.com", "other.corp.example.com", "x.void.example.com"):
        assert n.asked(name) == 0
    why = n.da.json("dns", "why", "other.corp.example.com")
    assert why["outcome"] == "forward" and "dns.split" in why["steps"][-1]
    assert "through the tunnel" in why["resolvers"][0] and "silent" in why["resolvers"][0]
    inside.kill(signal.SIGCONT)
    assert dig(n.a, "third.corp.example.com").data == ["10.1.2.3"]


def test_the_next_resolver_when_one_fails(lab):
    n = Names(lab)
    # Nobody listens; silent; failing; good.
    silent = n.start_fake(n.c, OUT, 5301, "silent")
    failing = n.start_fake(n.c, OUT, 5302, "failing")
    n.reload(f"{{domain: {DOMAIN}, upstream: ['{OUT}:5300', '{OUT}:5301', '{OUT}:5302', {OUT}]}}")
    assert dig(n.a, "www.example.org").data == ["198.51.100.1"]
    assert "query" in silent.output() and "query" in failing.output()
    # From now on the good one is asked first.
    before = failing.output().count("query"), silent.output().count("query")
    assert dig(n.a, "txt.example.org", "TXT").data == ['"one text"']
    assert (failing.output().count("query"), silent.output().count("query")) == before
    # Where nobody does better, "failed" is the answer.
    n.reload(f"{{domain: {DOMAIN}, upstream: ['{OUT}:5302', '{OUT}:5300']}}")
    assert dig(n.a, "www.example.org").status == "SERVFAIL"


def test_forged_answers(lab):
    n = Names(lab)
    forger = n.start_fake(n.c, OUT, 5301, "forger")
    n.reload(f"{{domain: {DOMAIN}, upstream: ['{OUT}:5301']}}")
    for i in range(200):
        assert dig(n.a, f"n{i}.example.org").data == ["198.51.100.7"]
    assert n.da.metric('warren_dns_resolvers{result="stray"}') >= 200
    rows = re.findall(r"query edns (\d+) (\w+)", forger.output())
    ports, ids = {row[0] for row in rows}, {row[1] for row in rows}
    assert len(rows) == 200 and len(ids) > 190 and len(ports) >= 4, (len(ids), len(ports))


def test_one_that_knows_no_edns(lab):
    n = Names(lab)
    old = n.start_fake(n.c, OUT, 5301, "old")
    n.reload(f"{{domain: {DOMAIN}, upstream: ['{OUT}:5301']}}")
    for i in range(3):
        assert dig(n.a, f"n{i}.example.org").data == ["198.51.100.8"]
    assert [line.split()[1] for line in old.output().splitlines()[1:]] == \
        ["edns", "plain", "plain", "plain"]


def test_commands(lab):
    n = Names(lab)
    status = n.da.json("dns", "status")
    assert status["CurrentTailnet"]["MagicDNSSuffix"] == DOMAIN
    assert status["Resolvers"] == [{"Addr": OUT}]
    assert status["SearchDomains"] == [DOMAIN]
    assert OUT in n.da.cli("dns", "status", "--all").stdout
    query = n.da.json("dns", "query", f"nas.{DOMAIN}")
    assert query["ResponseCode"] == "RCodeSuccess"
    assert query["Answers"] == [{"Name": f"nas.{DOMAIN}.", "TTL": 5, "Class": "ClassINET",
                                 "Type": "TypeA", "Body": B}]
    query = n.da.json("dns", "query", "www.example.org", "AAAA")
    assert query["Answers"][0]["Body"] == "2001:db8::1"
    assert query["Resolvers"] == [{"Addr": OUT}]
    text = n.da.cli("dns", "query", "nobody.example.org").stdout
    assert "Response code: RCodeNameError" in text and "No answers were returned." in text
    bad = n.da.cli("dns", "query", "www.example.org", "FROB", check=False)
    assert bad.returncode == 1 and "unknown DNS message type: FROB" in bad.stderr
    assert n.da.json("dns", "why", f"nas.{DOMAIN}")["outcome"] == "local"
    assert n.da.json("dns", "why", f"x.{DOMAIN}")["outcome"] == "absent"
    assert n.da.json("dns", "why", "www.example.org", "AAAA")["cached"]
    assert n.da.json("dns", "why", "x.example.org")["outcome"] == "forward"


def test_reload_keeps_clients_and_forgets_answers(lab):
    n = Names(lab)
    assert dig(n.a, "www.example.org").data == ["198.51.100.1"]
    n.start_dnsmasq(n.c, OUT, "--address=/example.org/198.51.100.99", port=5353)
    n.reload(f"{{domain: {DOMAIN}, upstream: ['{OUT}:5353']}}")
    assert dig(n.a, "www.example.org").data == ["198.51.100.99"]
    n.reload(f"{{domain: other.example.com, upstream: ['{OUT}:5353']}}")
    assert dig(n.a, "nas.other.example.com").data == [B]
    assert dig(n.a, f"nas.{DOMAIN}").data != [B]


def test_killed_engine_and_stop(lab):
    n = Names(lab)
    n.da.stop()
    before = n.a.state()
    n.da.start()
    n.served()
    assert dig(n.a, "www.example.org").data == ["198.51.100.1"]
    engine = n.da.engine_pid()
    os.kill(engine, signal.SIGKILL)
    wait_for("another engine", lambda: n.da.engine_pid() not in (None, engine), 30)
    n.da.ready(30)
    n.served()
    assert dig(n.a, f"nas.{DOMAIN}").data == [B]
    assert dig(n.a, "www.example.org").data == ["198.51.100.1"]
    n.da.stop()
    assert n.a.state() == before


class HostDaemon(Daemon):
    """One whose private /etc outlives it."""

    resolv = None               # text; a Path: a link there; None: there is no such file
    hold = ("sleep", "1000")

    def prepare(self):
        pass

    def inside(self, *argv, **kw):
        return self.host.run("nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", *argv, **kw)

    def start(self, wait=True):
        if not hasattr(self, "holder"):
            self.holder = self.host.start(*self.hold, log=self.dir / "holder.log")
            self.etc = pathlib.Path(f"/proc/{self.holder.pid}/root/etc")
            wait_for("it has an /etc of its own", lambda: "overlay /etc" in pathlib.Path(
                f"/proc/{self.holder.pid}/mounts").read_text() and pathlib.Path(
                f"/proc/{self.holder.pid}/comm").read_text() == "sleep\n")
            self.file = self.etc / "resolv.conf"
            self.file.unlink(missing_ok=True)
            self.prepare()
            if isinstance(self.resolv, pathlib.Path):
                self.file.symlink_to(self.resolv)
            elif self.resolv is not None:
                self.file.write_text(self.resolv)
                self.file.chmod(0o640)
                os.chown(self.file, 0, 4)
            self.before = self.found()
        self.proc = self.host.start("nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt",
                                    SBINDIR / "warrend", "--config", self.config, "--state",
                                    self.state_dir, "--socket", self.socket, *self.args,
                                    private=False, log=self.dir / "warrend.log")
        if wait:
            self.ready()

    def found(self):
        """What the file is, byte for byte."""
        if self.file.is_symlink():
            return os.readlink(self.file)
        if not self.file.exists():
            return None
        st = self.file.stat()
        return self.file.read_text(), oct(st.st_mode), st.st_uid, st.st_gid

    def ours(self):
        return self.file.is_file() and "nameserver 100.100.100.100" in self.file.read_text()

    def becomes_ours(self):
        wait_for("the host asks here", self.ours, 20)

    def overwrite(self, text):
        new = self.etc / "resolv.conf.other"
        new.write_text(text)
        new.rename(self.file)

    def cleanup(self):
        self.inside(SBINDIR / "warrend", "--cleanup", "--state", self.state_dir, "--config",
                    self.config)

    def looks_up(self, name):
        done = self.inside("getent", "ahostsv4", name, check=False)
        return done.stdout.split()[0] if done.returncode == 0 else None


BASE = f"# written by hand\nsearch lan.example.com\nnameserver {OUT}\noptions timeout:1\n"
BARE = f"{{domain: {DOMAIN}}}"


def on_host(lab, resolv, dns=BARE):
    class One(HostDaemon):
        pass

    One.resolv = resolv
    n = Names(lab, dns=dns, daemon=One)
    n.da.becomes_ours()
    return n


def crashes(n, stays=True):
    """After a crash of both, the next start and --cleanup set all back; @stays: what they undo."""
    for how in ("start", "cleanup"):
        n.da.start()
        n.da.becomes_ours()
        engine = n.da.engine_pid()
        os.kill(n.da.proc.pid, signal.SIGKILL)
        os.kill(engine, signal.SIGKILL)
        n.da.proc.popen.wait(10)
        if stays:
            assert n.da.ours()
        else:
            wait_for("it is gone", lambda: not n.da.ours(), 20)
        if how == "start":
            n.da.start()
            n.da.becomes_ours()
            n.da.stop()
        else:
            n.da.cleanup()
        assert n.da.found() == n.da.before


@pytest.mark.parametrize("kind", ["file", "link", "none"])
def test_the_hosts_configuration_is_ours_and_set_back(lab, kind):
    target = lab.dir / "elsewhere"
    target.write_text(BASE)
    n = on_host(lab, {"file": BASE, "link": target, "none": None}[kind])
    text = n.da.file.read_text()
    assert f"nameserver {MAGIC}\nnameserver {MAGIC6}\n" in text
    assert n.da.file.stat().st_mode & 0o777 == 0o644
    assert n.da.looks_up(f"nas.{DOMAIN}") == B
    if kind != "none":
        assert f"search {DOMAIN} lan.example.com\n" in text
        assert n.da.looks_up("nas") == B
        # What was there before is asked for all else.
        assert n.da.looks_up("www.example.org") == "198.51.100.1"
        assert n.da.json("dns", "status")["SystemDNS"]["Nameservers"] == [OUT]
    else:
        assert f"search {DOMAIN}\n" in text
        assert dig(n.a, "www.example.org").status == "SERVFAIL"
        assert "set dns.upstream" in n.da.cli("dns", "why", "www.example.org").stdout
        assert "set dns.upstream" in n.da.cli("doctor", "dns", check=False).stdout
    assert n.da.stop() == 0
    assert n.da.found() == n.da.before
    assert target.read_text() == BASE
    crashes(n)


def test_another_program_writes_the_configuration(lab):
    n = on_host(lab, BASE)
    other = f"# Generated by NetworkManager\nnameserver {OUT}\nsearch else.example.com\n"
    n.da.overwrite(other)
    wait_for("it is told", lambda: n.da.metric("warren_dns_host_overwritten") == 1, 20)
    n.da.becomes_ours()
    assert "(NetworkManager) has written /etc/resolv.conf: ours is written again" in n.da.log()
    wait_for("its search domain counts", lambda: f"search {DOMAIN} else.example.com" in
             n.da.file.read_text(), 20)
    assert n.da.looks_up("www.example.org") == "198.51.100.1"
    n.da.stop()
    assert n.da.file.read_text() == other, "what the other program wrote is there again"


@pytest.mark.parametrize("insist", ["true", "false"])
def test_what_somebody_makes_of_ours_is_no_file_that_was_there(lab, insist):
    n = on_host(lab, BASE, dns=f"{{domain: {DOMAIN}, insist: {insist}}}")
    ours = n.da.file.read_text()
    n.da.overwrite(ours + "options edns0\n")
    wait_for("it is told", lambda: n.da.metric("warren_dns_host_overwritten") == 1, 20)
    if insist == "true":
        wait_for("it is as it was", lambda: n.da.file.read_text() == ours, 20)
    assert n.da.looks_up("www.example.org") == "198.51.100.1", "those before us are asked"
    n.da.stop()
    assert n.da.found() == n.da.before


def test_bytes_that_are_no_text_in_the_configuration(lab):
    n = on_host(lab, BASE, dns=f"{{domain: {DOMAIN}, insist: false}}")
    other = f"# a\0b\nnameserver {OUT}\nsearch behind.example.com\n"
    n.da.overwrite(other)
    wait_for("it is read to its end", lambda: n.da.json("dns", "status")["SystemDNS"] ==
             {"Nameservers": [OUT], "SearchDomains": ["behind.example.com"],
              "MatchDomains": []}, 20)
    n.da.stop()
    assert n.da.file.read_text() == other


def test_it_is_left_to_another_program_that_keeps_writing(lab):
    n = on_host(lab, BASE, dns=f"{{domain: {DOMAIN}, insist: false}}")
    other = f"nameserver {OUT}\n"
    n.da.overwrite(other)
    wait_for("it is told", lambda: n.da.metric("warren_dns_host_overwritten") == 1, 20)
    assert "it is left as it is" in n.da.log()
    assert "another program has written it" in n.da.cli("doctor", "dns", check=False).stdout
    assert n.da.file.read_text() == other
    # The operator's next word makes it ours again, and its end is the other's file.
    n.da.write(n.yaml(BARE))
    n.da.cli("reload")
    n.da.becomes_ours()
    n.da.stop()
    assert n.da.file.read_text() == other


def test_the_configuration_while_engines_die_and_settings_change(lab):
    n = on_host(lab, BASE)
    engine = n.da.engine_pid()
    os.kill(engine, signal.SIGKILL)
    wait_for("another engine", lambda: n.da.engine_pid() not in (None, engine), 30)
    n.da.ready(30)
    n.served()
    assert n.da.ours()
    wait_for("names are looked up", lambda: n.da.looks_up("www.example.org") == "198.51.100.1",
             30)
    for words in ("host: off", "accept: false"):
        n.reload(f"{{domain: {DOMAIN}, {words}}}")
        wait_for("it is set back", lambda: n.da.found() == n.da.before, 20)
        # What is there now is still where other names go.
        assert dig(n.a, "txt.example.org", "TXT").data == ['"one text"']
        n.reload(BARE)
        n.da.becomes_ours()
    n.da.stop()
    assert n.da.found() == n.da.before


def test_the_daemon_itself_does_not_ask_itself(lab):
    """A peer that is known by name is found while the host's configuration leads to us."""
    n = on_host(lab, BASE)
    n.da.write(n.yaml(BARE).replace("'192.0.2.2:41641'", "'peer.example.org:41641'"))
    n.da.cli("reload")
    wait_for("the name is looked up", lambda: n.asked("peer.example.org"), 30)
    n.a.pings(B, timeout=30)
    before = n.asked("peer.example.org")
    assert n.da.metric('warren_dns_queries{answer="resolver"}') == 0, "not by way of ourselves"
    engine = n.da.engine_pid()
    os.kill(engine, signal.SIGKILL)
    wait_for("another engine", lambda: n.da.engine_pid() not in (None, engine), 30)
    n.da.ready(30)
    assert n.da.ours()
    wait_for("it is looked up again", lambda: n.asked("peer.example.org") > before, 60)
    n.a.pings(B, timeout=60)


def test_the_lan_of_a_gateway_is_served(lab):
    n = Names(lab)
    def lan(allow):
        return n.usual(f", listen: ['{LAN}:53', '203.0.113.99:53'], allow: [{allow}]")
    n.reload(lan("203.0.113.0/24"))
    asked = f"nas.{DOMAIN}"
    wait_for("the LAN is served", lambda: dig(n.c, asked, server=LAN, check=False).data == [B], 20)
    assert dig(n.c, asked, "A", "+tcp", server=LAN).data == [B]
    assert dig(n.c, "www.example.org", server=LAN).data == ["198.51.100.1"]
    # An address that is not there yet is told of, and served once it is.
    assert "203.0.113.99" in n.da.cli("doctor", "dns", check=False).stdout
    n.a.ip("addr", "add", "203.0.113.99/24", "dev", interface_of(n.a, LAN))
    wait_for("the other address is served too", lambda: dig(
        n.c, asked, "A", "+time=1", server="203.0.113.99", check=False).data == [B], 60)
    # Nobody else: not by UDP, not by TCP.
    n.reload(lan("10.0.0.0/8"))
    assert dig(n.c, asked, "A", "+time=1", server=LAN, check=False).status is None
    assert dig(n.c, asked, "A", "+tcp", "+time=1", server=LAN, check=False).status is None
    # Not any more.
    n.reload(n.usual())
    wait_for("the sockets are gone", lambda: ":53 " not in n.a.run("ss", "-lntu").stdout, 20)
    assert dig(n.a, asked).data == [B]


def test_nothing_is_asked_beside_an_exit_node(lab):
    n = Names(lab)
    assert dig(n.a, "www.example.org").data == ["198.51.100.1"]

    def use(exitnode):
        n.da.write(n.yaml(n.usual()).replace("endpoint: '192.0.2.2:41641'",
                                             "endpoint: '192.0.2.2:41641', exit-node: true")
                   + exitnode)
        n.da.cli("reload")

    use("exitnode: {use: nas}\n")
    # It leads nowhere here: better no answer than one from beside it.
    assert dig(n.a, "txt.example.org", "TXT").status == "SERVFAIL"
    assert n.asked("txt.example.org") == 0
    assert dig(n.a, f"nas.{DOMAIN}").data == [B]
    use("exitnode: {use: nas, allow-lan-access: true}\n")
    assert dig(n.a, "txt.example.org", "TXT").data == ['"one text"']
    assert len(dig(n.a, "large.example.org", "TXT").data) == 40
    use("exitnode: {}\n")
    assert dig(n.a, "mx.example.org", "MX").data == ["10 mail.example.org."]

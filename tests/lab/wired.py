"""A warrend whose engine is wire_engine.py: the monitor alone, its operations one by one."""

import ipaddress
import json
import os
import pathlib
import shutil
import socket
import struct

from lab import ENGINE_USER, SBINDIR, wait_for

OPEN, WATCH, FILE, TUN, SOCKET, ADDR, ROUTE, RULE, SYSCTL, CLOSE, NFT, \
    NFT_READ = range(1, 13)
READ, WRITE, CONNECT = 64, 128, 512
UDP, TCP, UNIX, ICMP = range(1, 5)
SOCK_OPEN = 32
N_TABLE, N_SELF, N_POOL, N_BEHIND, N_OPEN = range(1, 6)
N_OFF, N_OWN_TABLE, N_APPEND, N_AUTO = range(4)
N_SNAT, N_STATEFUL, N_EXIT4, N_EXIT6 = 1, 2, 4, 8
KEEP, TRANSPARENT, V6ONLY, REUSEPORT, BYPASS, OPENED = 1, 2, 4, 8, 16, 32
LINK_SET, ADDR_ADD, ADDR_DEL = 1, 2, 3
ADD, DEL = 1, 2
UNICAST, THROW, UNREACHABLE, BLACKHOLE = range(1, 5)
IP4_FORWARD, IP6_FORWARD, RP_FILTER, SRC_VALID_MARK = range(1, 5)
F_OPEN, F_CREATE, F_RENAME, F_UNLINK, F_MKDIR, F_STAT, F_LIST = range(1, 8)
EPERM, ENOENT, EINVAL, EEXIST, ENOSPC, ELOOP, ESTALE = 1, 2, 22, 17, 28, 40, 116


def addr(text):
    if not text:
        return bytes(17)
    ip = ipaddress.ip_address(text)
    return bytes([ip.version]) + ip.packed.ljust(16, b"\0")


def prefix(text):
    if not text:
        return bytes(18)
    host, bits = text.split("/")
    return addr(host) + bytes([int(bits)])


def tun(ifname, queues=1, flags=3, mtu=1280):
    return struct.pack("=16sIIII", ifname.encode(), queues, flags, mtu, 0)


def sock(key="", port=0, kind=UDP, family=4, flags=0, bind=None, mark=0, backlog=0, device="",
         rcvbuf=0, mode=0, index=0):
    return struct.pack("=128sIIII", key.encode(), index, family, kind, flags) + \
        addr(bind) + b"\0" + struct.pack("=H16sIIIIII", port, device.encode(), mark, backlog,
                                         rcvbuf, 0, mode, 0)


def link(ifname, mtu=0, up=0):
    return struct.pack("=I16sII24x", LINK_SET, ifname.encode(), mtu, up)


def address(ifname, text, verb=ADDR_ADD):
    return struct.pack("=I16sII18s6x", verb, ifname.encode(), 0, 0, prefix(text))


def route(dst, ifname="", kind=UNICAST, table=52, metric=0, source=None, verb=ADD):
    return struct.pack("=IIII18s17s16s5x", verb, kind, table, metric, prefix(dst), addr(source),
                       ifname.encode())


def rule(pref, table=52, action=1, family=4, mark=0, mask=0, to=None, iif="", verb=ADD, flags=0,
         uids=(0, 0), oif=""):
    return struct.pack("=10I18s16s16s2x", verb, action, family, pref, table, mark, mask, flags,
                       *uids, prefix(to), iif.encode(), oif.encode())


def sysctl(name, value, ifname=""):
    return struct.pack("=II16s", name, value, ifname.encode())


def nft(kind, net=None, mode=0, flags=0, ifname="", index=0, port=0, protocol=0):
    return struct.pack("=IIIIHBB16s18s18x", kind, mode, flags, index, port, protocol, 0,
                       ifname.encode(), prefix(net))


def nft_read():
    return struct.pack("=I", 0)


def file(key, verb, name="", to="", mode=0, flags=0, owner=""):
    return struct.pack("=128sIIII256s256s128s", key.encode(), 0, verb, mode, flags, name.encode(),
                       to.encode(), owner.encode())


class Wired:
    """The daemon; ops are asked of it through its engine."""

    def __init__(self, host, yaml="", name="", env=(), args=(), wait=True, state=None):
        self.host = host
        self.dir = host.lab.dir / f"{host.name}{name}"
        self.dir.mkdir(exist_ok=True)
        self.config = self.dir / "warren.yaml"
        self.state = state or self.dir / "state"
        self.socket = self.dir / "warrend.sock"
        self.engine = self.dir / "wire_engine.py"
        shutil.copy(pathlib.Path(__file__).parent / "wire_engine.py", self.engine)
        self.engine.chmod(0o755)
        self.talk = self.dir / "talk"
        self.talk.mkdir(exist_ok=True)
        os.chown(self.talk, *map(int, ENGINE_USER.split(":")))
        self.env = dict(os.environ, WIRE_ENGINE=str(self.talk / "engine"), **dict(env))
        self.args = list(args)
        self.client = None
        self.write(yaml)
        self.start(wait)

    def write(self, yaml):
        if "user:" not in yaml:
            yaml = f'system: {{user: "{ENGINE_USER}"}}\n' + yaml
        temporary = self.config.with_suffix(".new")
        temporary.write_text(yaml)
        temporary.rename(self.config)

    def start(self, wait=True):
        self.proc = self.host.start(
            SBINDIR / "warrend", "--config", self.config, "--state", self.state, "--socket",
            self.socket, "--engine", self.engine, "--log-level", "debug", *self.args,
            log=self.dir / "warrend.log", env=self.env, private=False)
        if wait:
            self.ready()

    def ready(self):
        self.client = None

        def connected():
            assert self.proc.alive(), f"warrend ended:\n{self.proc.output()}"
            client = socket.socket(socket.AF_UNIX)
            try:
                client.connect(self.env["WIRE_ENGINE"])
            except OSError:
                return None
            return client
        client = wait_for("the engine listens", connected)
        client.settimeout(20)
        self.client = client.makefile("rw")

    def do(self, do, **args):
        self.client.write(json.dumps(dict(args, do=do)) + "\n")
        self.client.flush()
        line = self.client.readline()
        assert line, f"the engine hung up:\n{self.log()}"
        return json.loads(line)

    def op(self, op, *items, **args):
        return self.do("op", op=op, hex=b"".join(items).hex(), **args)

    def ok(self, op, *items, **args):
        answer = self.op(op, *items, **args)
        assert answer["result"] == 0, answer
        return answer

    def refused(self, error, words, op, *items, **args):
        answer = self.op(op, *items, **args)
        assert answer["result"] == -error and words in answer["text"], answer
        return answer

    def engine_pid(self):
        path = pathlib.Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children")
        pids = path.read_text().split()
        return int(pids[0]) if pids else None

    def kill_engine(self):
        """SIGKILL; returns when the next one answers."""
        old = self.engine_pid()
        os.kill(old, 9)
        wait_for("another engine", lambda: self.engine_pid() not in (None, old))
        wait_for("it is up", lambda: self.log().count("the engine is up") > 1)
        self.ready()

    def log(self):
        return self.proc.output()

    def cleanup(self):
        return self.host.run(SBINDIR / "warrend", "--state", self.state, "--cleanup")

"""The monitor's operations, limits and undo, with an engine that a test drives."""

import errno
import json
import os
import pathlib
import pwd
import signal
import socket
import stat
import struct
import time

import pytest

import wired as w
from lab import ENGINE_USER, SBINDIR, run, wait_for

QUIET = [("WIRE_ENGINE_QUIET", "1")]
UID = int(ENGINE_USER.split(":")[0])


@pytest.fixture
def host(lab):
    return lab.host("a")


def route_state(host):
    state = host.state()
    return {k: state[k] for k in ("link", "addr", "rule4", "rule6", "route4", "route6")}


def build(d, ifname="warren0"):
    """What `wg` and `router` do: interface, address, routes, rules."""
    answer = d.ok(w.TUN, w.tun(ifname, queues=2), owner="wg")
    d.ok(w.ADDR, w.address(ifname, "100.64.0.1/32"), w.address(ifname, "fd7a::1/128"),
         w.link(ifname, up=1), owner="router")
    d.ok(w.ROUTE, w.route("100.64.0.2/32", ifname), w.route("fd7a::2/128", ifname),
         w.route("198.51.100.0/24", kind=w.THROW), owner="router")
    d.ok(w.RULE, w.rule(5210, table=254, mark=0x80000, mask=0xff0000),
         w.rule(5250, table=0, action=2, mark=0x80000, mask=0xff0000), w.rule(5270),
         w.rule(5270, family=6), owner="router")
    return answer


#
# ---- The engine's process ----
#


def test_engine_has_no_rights(host):
    d = w.Wired(host)
    status = dict(line.split(":\t", 1) for line in d.do("info")["status"].splitlines())
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["Uid"].split() == [str(UID)] * 4 == status["Gid"].split()
    assert status["Groups"].strip() == ""
    assert status["NoNewPrivs"] == "1"
    assert d.do("try_open", path=str(d.state / "monitor")) == "Permission denied"
    assert d.do("try_open", path="/etc/shadow") == "Permission denied"
    assert d.do("try_open", path=str(d.state / "engine")) == "opened"


def test_engine_gets_no_descriptor_of_the_monitor(host):
    d = w.Wired(host)
    links = [os.readlink(f"/proc/{d.engine_pid()}/fd/{fd}") for fd in d.do("info")["fds"]
             if os.path.exists(f"/proc/{d.engine_pid()}/fd/{fd}")]
    assert not [link for link in links if "journal" in link or "lock" in link or "inotify" in link]
    assert "NOTIFY_SOCKET" not in d.do("info")["env"]


def test_state_folder_has_its_owners_and_modes(host):
    d = w.Wired(host)
    top, monitor, engine = (os.stat(d.state / p) for p in ("", "monitor", "engine"))
    assert (top.st_uid, stat.S_IMODE(top.st_mode)) == (0, 0o711)
    assert (monitor.st_uid, stat.S_IMODE(monitor.st_mode)) == (0, 0o700)
    assert (engine.st_uid, stat.S_IMODE(engine.st_mode)) == (UID, 0o700)


def test_second_daemon_on_one_state_folder_is_refused(host):
    d = w.Wired(host)
    second = host.run(SBINDIR / "warrend", "--config", d.config, "--state", d.state, "--socket",
                      d.dir / "other.sock", check=False)
    assert second.returncode == 1
    assert f"another warrend (pid {d.proc.pid}) uses the state folder" in second.stderr
    d.ok(w.TUN, w.tun("warren0"))


def test_two_daemons_side_by_side(host):
    before = route_state(host)
    a = w.Wired(host)
    b = w.Wired(host, yaml=f'system: {{user: "{ENGINE_USER}", route-table: 53, '
                'rule-priorities: "5310-5370", interfaces: [warrenb*]}\n', name="2")
    build(a)
    b.ok(w.TUN, w.tun("warrenb0"))
    b.ok(w.ADDR, w.link("warrenb0", up=1))
    b.ok(w.ROUTE, w.route("100.64.0.2/32", "warrenb0", table=53))
    b.ok(w.RULE, w.rule(5370, table=53))
    b.refused(w.EPERM, "system.route-table is 53", w.ROUTE, w.route("10.9.0.0/16", kind=w.THROW))
    b.refused(w.EPERM, "system.interfaces", w.TUN, w.tun("warren0"))
    assert a.proc.stop() == 0
    assert "100.64.0.2 dev warrenb0" in host.ip("route", "show", "table", "53").stdout
    assert b.proc.stop() == 0
    assert route_state(host) == before


def test_missing_user_is_told_with_the_command(host, lab):
    d = w.Wired(host, yaml="system: {user: nobody-of-this-name}\n", wait=False)
    assert d.proc.popen.wait(5) == 1
    assert "useradd --system" in d.log() and "nobody-of-this-name" in d.log()


def test_writable_configuration_is_refused(host):
    d = w.Wired(host)
    d.proc.stop()
    d.config.chmod(0o666)
    d.start(wait=False)
    assert d.proc.popen.wait(5) == 1
    assert "can be written by others than root" in d.log() and "chmod go-w" in d.log()


def test_starts_in_time(host):
    """A loose bound against something that blocks; `make bench` measures."""
    d = w.Wired(host)
    d.proc.stop()
    start = time.monotonic()
    d.start(wait=False)
    wait_for("the first message", lambda: d.log().count("the engine is up") == 2, step=0.005)
    assert time.monotonic() - start < 2


#
# ---- Operations ----
#


def test_everything_is_undone_at_the_end(host):
    before = route_state(host)
    d = w.Wired(host)
    build(d)
    assert d.proc.stop() == 0
    assert route_state(host) == before
    assert not d.socket.exists()


def test_tun_belongs_to_root_and_carries_packets(host):
    d = w.Wired(host)
    answer = build(d)
    assert len(answer["fds"]) == 2
    shown = host.ip("-d", "link", "show", "warren0").stdout
    assert "multi_queue" in shown and "vnet_hdr" in shown and "user root" in shown
    assert "mtu 1280" in shown
    host.run("ping", "-c", "1", "-W", "0.1", "100.64.0.2", check=False)
    packets = [bytes.fromhex(d.do("read", fd=fd)) for fd in answer["fds"] * 3]
    # A virtio header of 10 bytes, then IPv4 with its destination.
    assert [p for p in packets if p[10:11] == b"\x45"
            and socket.inet_ntoa(p[26:30]) == "100.64.0.2"]


def test_foreign_interface_is_left_alone(host):
    host.ip("tuntap", "add", "dev", "warren0", "mode", "tun")
    d = w.Wired(host)
    d.refused(w.EEXIST, "it is not ours", w.TUN, w.tun("warren0"))
    d.refused(19, "not an interface that we made", w.ADDR, w.link("warren0", up=1))
    d.proc.stop()
    assert "warren0" in host.ip("link").stdout


def test_transaction_is_whole_or_not_at_all(host):
    d = w.Wired(host)
    build(d)
    before = route_state(host)
    answer = d.op(w.ROUTE, w.route("100.64.0.3/32", "warren0"), w.route("100.64.0.4/32", "warren0"),
                  w.route("100.64.0.2/32", "warren0", verb=w.DEL),
                  w.route("100.64.0.5/32", "warren0", source="192.0.2.77"), owner="router")
    assert answer["result"] < 0 and "100.64.0.5/32 in table 52" in answer["text"]
    assert route_state(host) == before
    # The one that failed left nothing in the register either.
    d.ok(w.ROUTE, w.route("100.64.0.3/32", "warren0"), owner="router")


def test_route_is_replaced_in_one_transaction(host):
    d = w.Wired(host)
    build(d)
    d.ok(w.ROUTE, w.route("100.64.0.2/32", "warren0", verb=w.DEL),
         w.route("100.64.0.2/32", kind=w.UNREACHABLE), owner="router")
    shown = host.ip("route", "show", "table", "52").stdout
    assert "unreachable 100.64.0.2" in shown and "100.64.0.2 dev" not in shown
    d.refused(w.EINVAL, "twice", w.ROUTE, w.route("100.64.0.9/32", "warren0"),
              w.route("100.64.0.9/32", "warren0"), owner="router")


def test_large_transaction_in_sealed_memory(host):
    d = w.Wired(host)
    build(d)
    items = [w.route(f"100.65.{i // 256}.{i % 256}/32", "warren0") for i in range(5000)]
    d.ok(w.ROUTE, *items, memfd="sealed", owner="router")
    assert host.ip("route", "show", "table", "52").stdout.count("100.65.") == 5000
    d.do("raw", type=7, hex=b"router".ljust(32, b"\0").hex())
    wait_for("the owner's routes go",
             lambda: "100.6" not in host.ip("route", "show", "table", "52").stdout)


def test_memory_that_is_not_sealed_ends_the_engine(host):
    d = w.Wired(host)
    build(d)
    with pytest.raises(AssertionError):
        d.op(w.ROUTE, w.route("100.65.0.1/32", "warren0"), memfd="open", owner="router")
    wait_for("told", lambda: "sent what is no message" in d.log())


def test_owner_cannot_touch_what_another_has(host):
    d = w.Wired(host)
    answer = build(d)
    d.refused(w.ENOENT, "not one that thief has added", w.ROUTE,
              w.route("100.64.0.2/32", "warren0", verb=w.DEL), owner="thief")
    d.refused(w.EEXIST, "plugin router has added it", w.RULE, w.rule(5270), owner="thief")
    d.refused(w.ENOENT, "thief holds no interface", w.CLOSE,
              struct.pack("=II", w.TUN, answer["handle"]), owner="thief")


def test_limits_hold(host):
    d = w.Wired(host, yaml=f'system: {{user: "{ENGINE_USER}", ports: [5300]}}\n'
                'wg: {port: 7000}\n')
    d.ok(w.TUN, w.tun("warren0"))
    d.refused(w.EPERM, "add it there", w.TUN, w.tun("eth7"))
    d.refused(w.EPERM, "5200-5279", w.RULE, w.rule(100))
    d.refused(w.EPERM, "main table", w.ROUTE, w.route("0.0.0.0/0", "warren0", table=254))
    d.refused(w.EPERM, "system.marks", w.SOCKET, w.sock("wg.port", 7000, mark=0x1234))
    d.refused(w.EPERM, "port 53 does not stand at wg.port", w.SOCKET, w.sock("wg.port", 53))
    d.refused(w.EPERM, "port 41641", w.SOCKET, w.sock("wg.port", 41641))
    d.ok(w.SOCKET, w.sock("wg.port", 7000, mark=0x80000))
    d.ok(w.SOCKET, w.sock("dns.listen", 5300))
    d.refused(w.EPERM, "system.interfaces", w.SYSCTL, w.sysctl(w.RP_FILTER, 0, "lo"))
    d.refused(w.EINVAL, "unknown namespace", w.TUN,
              struct.pack("=16sIIII", b"warren1", 1, 0, 1280, 2))


def test_socket_has_what_only_root_can_set(host):
    d = w.Wired(host)
    answer = d.ok(w.SOCKET, w.sock("wg.port", 41641, family=6, mark=0x80000, rcvbuf=8 << 20,
                                   flags=w.KEEP))
    assert answer["value"] == 41641
    shown = d.do("opts", fd=answer["fds"][0])
    assert shown["mark"] == 0x80000 and shown["rcvbuf"] == 16 << 20 and "41641" in shown["name"]
    d.refused(98, "another program has it", w.SOCKET, w.sock("wg.port", 41641, family=4))


def test_socket_to_dial_with(host):
    """The bypass mark by its name, whatever number the operator gave it."""
    d = w.Wired(host, yaml=f'system: {{user: "{ENGINE_USER}", marks: {{bypass: 0x20000}}}}\n')
    answer = d.ok(w.SOCKET, w.sock("", 0, kind=w.TCP, family=4, flags=w.BYPASS))
    shown = d.do("opts", fd=answer["fds"][0])
    assert shown["mark"] == 0x20000 and shown["name"] == "('0.0.0.0', 0)"
    d.refused(w.EINVAL, "BYPASS", w.SOCKET,
              w.sock("", 0, kind=w.TCP, family=4, flags=w.BYPASS, mark=0x20000))


def test_unix_socket_file_comes_and_goes(host, lab):
    path = lab.dir / "api.sock"
    d = w.Wired(host, yaml=f"localapi: {{socket: {path}}}\n")
    d.ok(w.SOCKET, w.sock("localapi.socket", kind=w.UNIX, family=0, backlog=5, mode=0o666))
    assert stat.S_IMODE(path.stat().st_mode) == 0o666
    socket.socket(socket.AF_UNIX).connect(str(path))
    d.refused(w.ENOENT, "no value at", w.SOCKET, w.sock("other.socket", kind=w.UNIX, family=0))
    d.proc.stop()
    assert not path.exists()


def test_sysctl_is_set_back(host):
    host.sysctl("net.ipv4.ip_forward", 0)
    d = w.Wired(host)
    d.ok(w.SYSCTL, w.sysctl(w.IP4_FORWARD, 1))
    assert host.run("sysctl", "-n", "net.ipv4.ip_forward").stdout == "1\n"
    d.proc.stop()
    assert host.run("sysctl", "-n", "net.ipv4.ip_forward").stdout == "0\n"


def test_sysctl_of_somebody_else_stays(host):
    host.sysctl("net.ipv4.ip_forward", 0)
    d = w.Wired(host)
    d.ok(w.SYSCTL, w.sysctl(w.IP4_FORWARD, 1))
    host.sysctl("net.ipv4.conf.all.rp_filter", 2)
    d.ok(w.SYSCTL, w.sysctl(w.RP_FILTER, 0, "all"))
    host.sysctl("net.ipv4.conf.all.rp_filter", 1)
    d.proc.stop()
    assert host.run("sysctl", "-n", "net.ipv4.conf.all.rp_filter").stdout == "1\n"


def test_open_reads_what_the_files_name(host, lab):
    secret = lab.secret("psk", "for root only")
    d = w.Wired(host, yaml=f"static: {{peers: {{nas: {{psk: {{file: {secret}}}}}}}}}\n")
    key = "static.peers.nas.psk.file"
    item = struct.pack("=128sII256s", key.encode(), 0, w.READ, b"")
    answer = d.ok(w.OPEN, item)
    assert bytes.fromhex(d.do("read", fd=answer["fds"][0])) == b"for root only\n"
    d.refused(w.ENOENT, "no value at static.peers.gone", w.OPEN,
              struct.pack("=128sII256s", b"static.peers.gone", 0, w.READ, b""))
    d.refused(w.ESTALE, "read again", w.OPEN, item, generation=7)
    secret.unlink()
    d.refused(w.ENOENT, "No such file", w.OPEN, item)


def test_open_follows_no_link_of_a_user(host, lab):
    target = lab.secret("shadow", "secret")
    folder = lab.dir / "users"
    folder.mkdir()
    os.chown(folder, UID, UID)
    bait = folder / "psk"
    bait.symlink_to(target)
    own = lab.dir / "own"
    own.symlink_to(target)
    d = w.Wired(host, yaml=f"a: {bait}\nb: {own}\n")
    d.refused(w.ELOOP, "not followed", w.OPEN, struct.pack("=128sII256s", b"a", 0, w.READ, b""))
    d.ok(w.OPEN, struct.pack("=128sII256s", b"b", 0, w.READ, b""))
    bait.unlink()
    os.mkfifo(bait)
    d.refused(w.EINVAL, "not a plain file", w.OPEN,
              struct.pack("=128sII256s", b"a", 0, w.READ, b""))


def test_what_a_command_named_is_opened_as_whoever_gave_it(host, lab):
    user, mail = 54321, pwd.getpwnam("mail")
    lab.dir.chmod(0o711)
    hidden = lab.secret("hidden", "for root only")
    mine = lab.dir / "mine"
    mine.mkdir(mode=0o700)
    (mine / "ca").write_text("of the user")
    (mine / "link").symlink_to(hidden)
    os.mkfifo(mine / "fifo")
    for path in (mine, mine / "ca", mine / "fifo"):
        os.chown(path, user, user)
    ours = lab.dir / "ours"             # for the group of another user
    ours.write_text("of the group")
    os.chown(ours, 0, mail.pw_gid)
    ours.chmod(0o640)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(lab.dir / "sock"))
    listener.listen(1)
    (lab.dir / "sock").chmod(0o600)
    values = {
        "ca": (mine / "ca", user), "link": (mine / "link", user), "fifo": (mine / "fifo", user),
        "roots": (hidden, user), "root": (hidden, 0), "group": (ours, mail.pw_uid),
        "nobody": (ours, user), "sock": (lab.dir / "sock", user), "below": (mine, user),
        "away": (lab.dir, user),
    }
    state = lab.dir / "kept"
    (state / "monitor").mkdir(parents=True)
    state.chmod(0o711)
    (state / "monitor").chmod(0o700)
    (state / "monitor" / "overlay.yaml").write_text(
        "".join(f'"{key}": "{path}" # uid {uid}\n' for key, (path, uid) in values.items()) +
        f'"unsaid": "{mine / "ca"}"\n')
    d = w.Wired(host, state=state)

    def item(key, access=w.READ, name=b""):
        return struct.pack("=128sII256s", key.encode(), 0, access, name)

    def content(*args):
        return bytes.fromhex(d.do("read", fd=d.ok(w.OPEN, item(*args))["fds"][0]))
    assert content("ca") == b"of the user"
    assert content("group") == b"of the group"
    assert content("root") == b"for root only\n"
    assert content("below", w.READ, b"ca") == b"of the user"
    who = f"as uid {user}, who set it"
    for key in ("roots", "link", "nobody"):
        d.refused(errno.EACCES, f"{values[key][0]} {who}: Permission denied", w.OPEN, item(key))
    d.refused(errno.EACCES, f"{who}: Permission denied", w.OPEN, item("sock", w.CONNECT))
    d.refused(w.EINVAL, "no plain file", w.OPEN, item("fifo"))
    d.refused(errno.ELOOP, f"{who}: Too many", w.OPEN, item("below", w.READ, b"link"))
    d.refused(w.ENOENT, "does not say by whom", w.OPEN, item("unsaid"))
    d.refused(w.ENOENT, "must stand in the files of /etc", w.WATCH,
              struct.pack("=128sII", b"ca", 0, 0))
    # A folder: as the user, not as the owner.
    d.ok(w.FILE, w.file("below", w.F_CREATE, "new", mode=0o640))
    assert (mine / "new").stat().st_uid == user
    d.refused(errno.EACCES, "new: Permission denied", w.FILE,
              w.file("away", w.F_CREATE, "new", mode=0o640))
    assert not (lab.dir / "new").exists()


def test_watch_sees_change_and_replacement(host, lab):
    path = lab.dir / "policy"
    path.write_text("1")
    d = w.Wired(host, yaml=f"policy: {path}\n")
    handle = d.ok(w.WATCH, struct.pack("=128sII", b"policy", 0, 0))["handle"]
    (lab.dir / "another").write_text("no event for this one")
    assert d.do("events", wait=0.6) == []
    path.write_text("2")
    assert d.do("events", wait=3) == [[w.WATCH, handle]]
    new = lab.dir / "policy.new"
    new.write_text("3")
    new.rename(path)
    assert d.do("events", wait=3) == [[w.WATCH, handle]]
    for i in range(50):
        path.write_text(str(i))
    assert len(d.do("events", wait=3)) == 1
    d.ok(w.CLOSE, struct.pack("=II", w.WATCH, handle))
    path.write_text("4")
    assert d.do("events", wait=0.6) == []


def test_files_belong_to_the_folders_owner(host, lab):
    inbox = lab.dir / "inbox"
    inbox.mkdir()
    os.chown(inbox, 65532, 65532)
    outside = lab.secret("outside", "x")
    (inbox / "link").symlink_to(outside)
    d = w.Wired(host, yaml=f"taildrop: {{inbox: {inbox}}}\n")
    key = "taildrop.inbox"
    fd = d.ok(w.FILE, w.file(key, w.F_CREATE, "a.txt", mode=0o640))["fds"][0]
    d.do("write", fd=fd, hex=b"hello".hex())
    made = (inbox / "a.txt").stat()
    assert (made.st_uid, made.st_size, stat.S_IMODE(made.st_mode)) == (65532, 5, 0o640)
    d.ok(w.FILE, w.file(key, w.F_MKDIR, "sub", mode=0o755))
    d.ok(w.FILE, w.file(key, w.F_RENAME, "a.txt", "sub/b.txt"))
    size = struct.unpack_from("=Q", bytes.fromhex(
        d.ok(w.FILE, w.file(key, w.F_STAT, "sub/b.txt"))["data"]))[0]
    assert size == 5
    names = bytes.fromhex(d.ok(w.FILE, w.file(key, w.F_LIST))["data"])
    assert b"sub\0" in names and b"link\0" in names
    answer = d.op(w.FILE, w.file(key, w.F_OPEN, "link"))
    assert answer["result"] < 0, answer
    d.refused(w.EINVAL, "\"..\"", w.FILE, w.file(key, w.F_OPEN, "../outside"))
    # Not over what is there, nor through a link.
    d.ok(w.FILE, w.file(key, w.F_CREATE, "c.txt", mode=0o640))
    d.refused(errno.EEXIST, "c.txt: File exists", w.FILE,
              w.file(key, w.F_RENAME, "c.txt", "sub/b.txt", flags=1))
    d.ok(w.FILE, w.file(key, w.F_RENAME, "c.txt", "d.txt", flags=1))
    (inbox / "inside").symlink_to("d.txt")
    d.refused(errno.ELOOP, "inside: Too many levels", w.FILE,
              w.file(key, w.F_CREATE, "inside", mode=0o640))
    d.ok(w.FILE, w.file(key, w.F_UNLINK, "sub/b.txt"))
    for i in range(900):
        (inbox / f"a-rather-long-name-of-a-file-number-{i}").touch()
    names = bytes.fromhex(d.ok(w.FILE, w.file(key, w.F_LIST))["data"])
    assert names.count(b"a-rather-long") == 900


def test_files_belong_to_whom_the_operator_names(host, lab):
    inbox = lab.dir / "inbox"
    inbox.mkdir()
    inbox.chmod(0o1777)
    d = w.Wired(host, yaml=f"taildrop: {{inbox: {inbox}, owner: daemon, other: nosuchuser}}\n")
    d.ok(w.FILE, w.file("taildrop.inbox", w.F_CREATE, "a.txt", mode=0o644,
                        owner="taildrop.owner"))
    assert (inbox / "a.txt").owner() == "daemon"
    assert (inbox / "a.txt").stat().st_gid == pwd.getpwnam("daemon").pw_gid
    d.refused(errno.ENOENT, "there is no user \"nosuchuser\"", w.FILE,
              w.file("taildrop.inbox", w.F_CREATE, "b", mode=0o644, owner="taildrop.other"))
    d.refused(errno.ENOENT, "the files have no value at taildrop.none", w.FILE,
              w.file("taildrop.inbox", w.F_CREATE, "b", mode=0o644, owner="taildrop.none"))
    inbox.chmod(0o755)      # root's, in which that user may not write
    d.refused(errno.EACCES, "c: Permission denied", w.FILE,
              w.file("taildrop.inbox", w.F_CREATE, "c", mode=0o644, owner="taildrop.owner"))


#
# ---- A hostile engine ----
#


@pytest.mark.parametrize("what", [
    b"", b"x", struct.pack("=IIIi", 4, 1, 0, 0), struct.pack("=IIIi", 4, 1, 5000, 0),
    struct.pack("=IIIi", 99, 1, 0, 0), struct.pack("=IIIi", 10, 0, 8, 0) + bytes(8),
    struct.pack("=IIIi", 7, 0, 32, 0) + b"\xff" * 32,
    struct.pack("=IIIi", 4, 1, 56, 0) + struct.pack("=IIQ32s", 6, 8, 1, b"UPPER") + bytes(8),
], ids=["empty", "short", "no-request", "wrong-length", "unknown", "no-reload", "no-name", "owner"])
def test_broken_message_ends_the_engine_and_nothing_else(host, what):
    d = w.Wired(host)
    build(d)
    before = route_state(host)
    old = d.engine_pid()
    d.client.write('{"do": "bytes", "hex": "%s"}\n' % what.hex())
    d.client.flush()
    wait_for("another engine", lambda: d.engine_pid() not in (None, old))
    wait_for("it is up", lambda: d.log().count("the engine is up") > 1)
    # Held for the new engine, until it has had time to ask for it again.
    assert route_state(host) == before
    assert d.proc.alive()


def test_flood_of_requests_does_not_block_signals(host):
    d = w.Wired(host)
    one = struct.pack("=IIIi", 4, 1, 56, 0) + struct.pack("=IIQ32s", 6, 8, 1, b"test") + bytes(8)
    d.client.write('{"do": "flood", "count": 200000, "hex": "%s"}\n' % one.hex())
    d.client.flush()
    time.sleep(0.5)
    rss = int(run("ps", "-o", "rss=", "-p", d.proc.pid).stdout)
    start = time.monotonic()
    os.kill(d.proc.pid, signal.SIGTERM)
    os.kill(d.engine_pid(), signal.SIGKILL)
    assert d.proc.popen.wait(10) == 0
    assert time.monotonic() - start < 5
    assert rss < 64 * 1024


def test_silent_engine_is_noticed(host):
    d = w.Wired(host, env=QUIET)
    assert "is up" not in d.log()
    d.do("ready")
    wait_for("ready", lambda: "the engine is up" in d.log())


#
# ---- Deaths ----
#


def test_engine_killed_nothing_leaks_and_what_was_kept_comes_back(host):
    d = w.Wired(host, env=QUIET)
    d.do("ready")
    build(d)
    kept = d.ok(w.SOCKET, w.sock("wg.port", 41641, flags=w.KEEP), owner="wg")
    cookie = d.do("opts", fd=kept["fds"][0])["cookie"]
    index = host.run("cat", "/sys/class/net/warren0/ifindex").stdout
    before = route_state(host)
    old = d.engine_pid()
    os.kill(old, signal.SIGKILL)
    wait_for("another engine", lambda: d.engine_pid() not in (None, old))
    d.ready()
    again = d.ok(w.TUN, w.tun("warren0", queues=2), owner="wg")
    assert "interface warren0 was kept" in d.log()
    assert host.run("cat", "/sys/class/net/warren0/ifindex").stdout == index
    assert len(again["fds"]) == 2
    kept = d.ok(w.SOCKET, w.sock("wg.port", 41641, flags=w.KEEP), owner="wg")
    assert d.do("opts", fd=kept["fds"][0])["cookie"] == cookie
    assert route_state(host) == before


def held(host):
    return "100.64.0.2 dev warren0" in host.ip("route", "show", "table", "52").stdout


def queues(host):
    info = json.loads(host.ip("-j", "-d", "link", "show", "warren0").stdout)[0]["linkinfo"]
    return info["info_data"]["numqueues"], info["info_data"]["numdisabled"]


def test_routes_are_held_while_no_engine_runs(host):
    d = w.Wired(host, env=QUIET)
    d.do("ready")
    build(d)
    old = d.engine_pid()
    os.kill(old, signal.SIGKILL)
    wait_for("another engine", lambda: d.engine_pid() not in (None, old))
    d.ready()
    # It has not said that it is ready: all is still there, all queues but one are detached.
    assert held(host)
    assert "5270:" in host.ip("rule").stdout
    assert queues(host) == (1, 1)
    assert host.ip("route", "get", "100.64.0.2").stdout.startswith("100.64.0.2 dev warren0")
    # Asked again by the same plugin it is theirs again; what is not asked for goes with READY.
    d.ok(w.TUN, w.tun("warren0", queues=2), owner="wg")
    assert queues(host) == (2, 0)
    d.ok(w.ADDR, w.address("warren0", "100.64.0.1/32"), w.link("warren0", up=1), owner="router")
    d.ok(w.ROUTE, w.route("100.64.0.2/32", "warren0"), owner="router")
    d.do("ready")
    assert "5270:" in host.ip("rule").stdout
    wait_for("the rest is undone", lambda: "5270:" not in host.ip("rule").stdout)
    assert held(host)
    assert "198.51.100" not in host.ip("route", "show", "table", "52").stdout


def test_monitor_killed_then_the_next_start_undoes(host):
    before = route_state(host)
    host.sysctl("net.ipv4.ip_forward", 0)
    d = w.Wired(host)
    build(d)
    d.ok(w.SYSCTL, w.sysctl(w.IP4_FORWARD, 1))
    engine = d.engine_pid()
    d.proc.kill()
    d.proc.popen.wait(5)
    wait_for("the engine dies with it", lambda: not pathlib.Path(f"/proc/{engine}").exists())
    assert "5270:" in host.ip("rule").stdout
    d.start()
    assert "leftovers are taken back" in d.log() and "is still there" not in d.log()
    assert route_state(host) == before
    assert host.run("sysctl", "-n", "net.ipv4.ip_forward").stdout == "0\n"
    build(d)
    assert d.proc.stop() == 0
    assert route_state(host) == before


def test_both_killed_then_cleanup_undoes(host):
    before = route_state(host)
    d = w.Wired(host)
    build(d)
    engine = d.engine_pid()
    os.kill(d.proc.pid, signal.SIGSTOP)
    os.kill(engine, signal.SIGKILL)
    d.proc.kill()
    d.proc.popen.wait(5)
    d.cleanup()
    assert route_state(host) == before
    assert not d.socket.exists()
    assert d.cleanup().stderr == ""


def test_cleanup_beside_a_running_daemon_is_refused(host):
    d = w.Wired(host)
    build(d)
    done = host.run(SBINDIR / "warrend", "--state", d.state, "--cleanup", check=False)
    assert done.returncode == 1 and "another warrend" in done.stderr
    assert held(host)


def test_torn_journal_is_read_up_to_the_tear(host):
    before = route_state(host)
    d = w.Wired(host)
    build(d)
    d.proc.kill()
    d.proc.popen.wait(5)
    journal = d.state / "monitor" / "journal"
    with open(journal, "ab") as out:
        out.write(b"+ 99 6 router 0011223344")
    d.cleanup()
    assert route_state(host) == before


def test_what_is_not_ours_any_more_stays(host):
    d = w.Wired(host)
    build(d)
    d.proc.kill()
    d.proc.popen.wait(5)
    # Somebody has put his own rule and route in the place of ours.
    host.ip("rule", "del", "pref", "5250")
    host.ip("rule", "add", "pref", "5250", "fwmark", "0x80000/0xff0000", "unreachable")
    host.ip("route", "del", "throw", "198.51.100.0/24", "table", "52")
    host.ip("route", "add", "throw", "198.51.100.0/24", "table", "52", "proto", "static")
    d.cleanup()
    assert "5250:" in host.ip("rule").stdout and "5270:" not in host.ip("rule").stdout
    assert "198.51.100.0/24" in host.ip("route", "show", "table", "52").stdout


def test_crash_loop_is_told_and_slows_down(host):
    d = w.Wired(host)
    for _ in range(6):
        old = d.engine_pid()
        os.kill(old, signal.SIGKILL)
        wait_for("another engine", lambda: d.engine_pid() not in (None, old), timeout=15)
    assert "died 5 times in a row" in d.log()
    assert "again in 400 ms" in d.log()


def test_engine_that_cannot_start_ends_the_daemon(host):
    d = w.Wired(host, wait=False)
    d.proc.stop()
    d.engine.write_text("#!/bin/sh\nexit 3\n")
    d.start(wait=False)
    assert d.proc.popen.wait(5) == 1
    assert "could not start (exit status 3)" in d.log()


#
# ---- Others on this host ----
#


def test_flushed_rules_routes_and_addresses_come_back(host):
    d = w.Wired(host)
    build(d)
    before = route_state(host)
    host.ip("rule", "flush")
    host.ip("-6", "rule", "del", "pref", "5270")
    host.ip("rule", "add", "pref", "32766", "lookup", "main")
    host.ip("route", "flush", "table", "52")
    host.ip("-6", "route", "flush", "table", "52")
    host.ip("addr", "flush", "dev", "warren0")
    wait_for("rules are back", lambda: "5270:" in host.ip("rule").stdout)
    wait_for("all is back", lambda: all(
        route_state(host)[k] == before[k] for k in ("addr", "rule6", "route4")), timeout=5)
    assert "another program has removed" in d.log()


def test_interface_set_down_comes_up_again(host):
    d = w.Wired(host)
    build(d)
    host.ip("link", "set", "warren0", "down")
    wait_for("up again", lambda: "UP" in host.ip("link", "show", "warren0").stdout.split(">")[0])
    wait_for("routes are back", lambda: held(host))


#
# ---- Disk and files ----
#


@pytest.fixture
def small_disk(lab):
    path = lab.dir / "small"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs", path)
    yield path
    run("umount", "-l", path)


def fill(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        while os.write(fd, b"x" * 512):
            pass
    except OSError as error:
        assert error.errno == w.ENOSPC
    os.close(fd)


def test_full_disk_refuses_changes_and_says_so(host, small_disk):
    before = route_state(host)
    d = w.Wired(host, state=small_disk / "state")
    build(d)
    fill(small_disk / "filler")
    kept = route_state(host)
    items = [w.route(f"100.66.{i // 256}.{i % 256}/32", kind=w.THROW) for i in range(100)]
    answer = d.op(w.ROUTE, *items, owner="router")
    assert answer["result"] == -w.ENOSPC and "make room" in answer["text"], answer
    assert route_state(host) == kept
    (small_disk / "filler").unlink()
    d.ok(w.ROUTE, *items, owner="router")
    d.proc.kill()
    d.proc.popen.wait(5)
    d.cleanup()
    assert route_state(host) == before


def test_reload_switches_both_sides_together(host, lab):
    one, two = lab.secret("one", "1"), lab.secret("two", "2")
    d = w.Wired(host, yaml=f"k: {one}\n")
    item = struct.pack("=128sII256s", b"k", 0, w.READ, b"")
    d.write(f"k: {two}\n")
    os.kill(d.proc.pid, signal.SIGHUP)
    files = d.do("reloads", wait=5)
    assert len(files) == 1 and str(two) in files[0]["files"][0]
    new = files[0]["generation"]

    def content(generation):
        fd = d.ok(w.OPEN, item, generation=generation)["fds"][0]
        return bytes.fromhex(d.do("read", fd=fd)).strip()

    # While it is being tried, each side means its own generation.
    assert content(new) == b"2" and content(new - 1) == b"1"
    d.do("reload_done", generation=new, result=-22, text="warren.yaml:1:1: not good\nsecond line")
    wait_for("told", lambda: "not good" in d.log() and "second line" in d.log())
    d.refused(w.ESTALE, "read again", w.OPEN, item, generation=new)
    assert content(new - 1) == b"1"
    d.do("raw", type=8)
    files = d.do("reloads", wait=5)
    d.do("reload_done", generation=files[0]["generation"])
    wait_for("told", lambda: "the new configuration is in force" in d.log())
    assert content(files[0]["generation"]) == b"2"
    d.refused(w.ESTALE, "read again", w.OPEN, item, generation=new - 1)


def test_malformed_yaml_changes_nothing(host):
    d = w.Wired(host)
    build(d)
    before = route_state(host)
    d.write("wg: {port: 1\nx: [\n")
    d.do("raw", type=8)
    answer = d.do("reloads", wait=5)[0]
    assert answer["result"] == -22 and f"{d.config}:" in answer["text"], answer
    line = answer["text"].split(f"{d.config}:", 1)[1]
    assert line.split(":")[0].isdigit() and line.split(":")[1].isdigit()
    wait_for("told", lambda: "nothing changes" in d.log())
    assert route_state(host) == before
    d.ok(w.ROUTE, w.route("100.64.0.7/32", "warren0"), owner="router")


def test_crash_in_a_reload_keeps_the_old_files(host):
    d = w.Wired(host, yaml="k: old\n")
    d.write("k: new\n")
    os.kill(d.proc.pid, signal.SIGHUP)
    assert "new" in d.do("reloads", wait=5)[0]["files"][0]
    d.kill_engine()
    assert "k: old" in d.do("info")["config"]
    assert "the old one stays in force" in d.log()


def test_conf_d_is_read_in_order(host):
    d = w.Wired(host, yaml="k: main\n")
    d.proc.stop()
    (d.dir / "conf.d").mkdir()
    for name in ("20-b.yaml", "10-a.yaml", "ignored.txt", ".hidden.yaml"):
        (d.dir / "conf.d" / name).write_text(f"{name.split('-')[0].strip('.').split('.')[0]}x: 1\n")
    d.start()
    text = d.do("info")["config"]
    assert text.index("10x") < text.index("20x") and "ignored" not in text and "hidden" not in text


#
# ---- Service manager ----
#


def test_service_manager_is_told(host, lab):
    path = str(lab.dir / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(5)

    def until(word):
        while True:
            text = manager.recv(4096).decode()
            if word in text:
                return text

    d = w.Wired(host, env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "10000000"}.items())
    assert "STATUS=a test is in charge" in until("READY=1")
    until("WATCHDOG=1")
    os.kill(d.proc.pid, signal.SIGHUP)
    assert "MONOTONIC_USEC=" in until("RELOADING=1")
    d.do("reload_done", generation=d.do("reloads", wait=5)[0]["generation"])
    until("READY=1")
    os.kill(d.engine_pid(), signal.SIGSTOP)
    manager.settimeout(1.5)
    with pytest.raises(TimeoutError):
        while True:
            assert "WATCHDOG" not in manager.recv(4096).decode() or time.sleep(0)
    os.kill(d.engine_pid(), signal.SIGCONT)
    manager.settimeout(5)
    os.kill(d.proc.pid, signal.SIGTERM)
    until("STOPPING=1")

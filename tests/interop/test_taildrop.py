"""Taildrop: files between ours and stock nodes, both ways."""

import hashlib
import os
import pathlib
import re
import signal
import tempfile
import time

import pytest

from interop import OwnTailnet, Tailscaled, Warren, wait_for
from lab import BINDIR

ALL = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}
USER = 64322    # who types `warren file`: the operator, and not root
BIG = 64 << 20


class Pair:
    """Ours and a stock node of one user, each of which knows where the other's peer API is."""

    def __init__(self, lab, folder):
        self.dir = pathlib.Path(folder)
        self.dir.chmod(0o755)
        self.home = self.dir / "home"
        self.home.mkdir()
        os.chown(self.home, USER, USER)
        self.inbox = self.dir / "inbox"
        own = OwnTailnet(lab, ALL)
        own.control.user("alice")
        key = own.control.auth_key("--user", "alice", "--reusable")
        self.warren = Warren(own, auth_key=key, joined=False, extra="taildrop: {}\n")
        self.warren.write(self.warren.config.read_text().replace(
            "node: {hostname: warren}", f"node: {{hostname: warren, operator: '{USER}'}}"))
        self.warren.cli("reload")
        self.stock = Tailscaled(own, up=(f"--auth-key={key}",))
        wait_for("it runs", lambda: self.warren.control()["state"] == "Running")
        wait_for("stock knows ours",
                 lambda: (self.stock.peer("warren") or {}).get("PeerAPIURL"))
        wait_for("ours knows stock",
                 lambda: "stock" in self.warren.cli("file", "cp", "--targets").stdout)

    def argv(self, *argv):
        return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups",
                "env", "-C", self.home, BINDIR / "warren", "--socket", self.warren.socket, *argv]

    def user(self, *argv, **kw):
        """`warren` of the operator, in a folder of that user's."""
        return self.warren.host.run(*self.argv(*argv), **kw)

    def config(self, section):
        text = self.warren.config.read_text()
        self.warren.write(re.sub(r"^taildrop: .*$", f"taildrop: {section}", text, flags=re.M))
        self.warren.cli("reload")

    def moved(self, direction):
        return self.warren.metric(f"warren_taildrop_{direction}_bytes")


@pytest.fixture
def pair(lab):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        one = Pair(lab, folder)
        # The socket's folder is the test's, which is root's alone.
        for above in (one.warren.dir, *one.warren.dir.parents):
            if len(above.parts) > 2:
                above.chmod(above.stat().st_mode | 0o011)
        yield one
    assert "assertion" not in one.warren.log()


def make(path, size, seed=b"x"):
    with open(path, "wb") as out:
        while size > 0:
            seed = hashlib.sha512(seed).digest()
            piece = (seed * 4096)[:size]
            out.write(piece)
            size -= len(piece)
    return path


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_small_files_both_ways(pair):
    texts = {"hello.txt": b"hello\n", "two words.bin": bytes(range(256)), "empty": b"",
             "f\u00fc\u00df \u20ac.txt": b"names"}
    for name, text in texts.items():
        (pair.home / name).write_bytes(text)
        os.chown(pair.home / name, USER, USER)
    # Ours to stock, by somebody who is not root, several at once and by address.
    said = pair.user("file", "cp", *texts, "stock:")
    assert said.stdout == said.stderr == "", said
    pair.user("file", "cp", "--name=piped.txt", "-", f"[{pair.stock.ip6}]:", input="from a pipe\n")
    there = pair.dir / "there"
    there.mkdir()
    pair.stock.cli("file", "get", there)
    assert {p.name: p.read_bytes() for p in there.iterdir()} == {**texts,
                                                                 "piped.txt": b"from a pipe\n"}
    # And back.
    pair.stock.cli("file", "cp", *(there / name for name in texts), "warren:")
    here = pair.home / "here"
    here.mkdir()
    os.chown(here, USER, USER)
    said = pair.user("file", "get", "--verbose", "here").stdout.splitlines()
    assert said[-1] == f"moved {len(texts)}/{len(texts)} files", said
    assert f"wrote hello.txt as here/hello.txt (6 bytes)" in said, said
    assert {p.name: p.read_bytes() for p in here.iterdir()} == texts
    assert {p.stat().st_uid for p in here.iterdir()} == {USER}
    assert pair.user("file", "get", "here").stdout == ""
    # Who is not the operator may not.
    other = pair.warren.host.run("setpriv", "--reuid=64323", "--regid=64323", "--clear-groups",
                                 BINDIR / "warren", "--socket", pair.warren.socket, "file", "get",
                                 "/tmp", check=False)
    assert other.returncode == 1 and "permission denied" in other.stderr, other


def test_the_readme_word_by_word(pair):
    """README, section "Send a file", by a user who is not root: to a stock node, and back."""
    text = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    section = text.partition("\n## Send a file\n")[2].partition("\n## ")[0]
    line, copy, get = (found.partition(" # ")[0].strip()
                       for found in re.findall(r"^    (\S.*)$", section, re.M))
    name, target = re.fullmatch(r"warren file cp \./(\S+) (\S+):", copy).groups()
    pair.config(line.removeprefix("taildrop: "))
    pair.stock.cli("set", f"--hostname={target}")
    wait_for("it has its name",
             lambda: target in pair.warren.cli("file", "cp", "--targets").stdout.split())
    (pair.home / name).write_text("from the readme\n")
    os.chown(pair.home / name, USER, USER)
    pair.user(*copy.split()[1:])
    there = pair.dir / "there"
    there.mkdir()
    pair.stock.cli("file", "get", there)
    assert (there / name).read_text() == "from the readme\n"
    (pair.home / name).unlink()
    pair.stock.cli("file", "cp", there / name, "warren:")
    pair.user(*get.split()[1:])
    assert (pair.home / name).read_text() == "from the readme\n"


def test_large_files_both_ways(pair):
    big = make(pair.home / "big", BIG)
    os.chown(big, USER, USER)
    pair.user("file", "cp", "big", "stock:")
    there = pair.dir / "there"
    there.mkdir()
    pair.stock.cli("file", "get", there)
    assert digest(there / "big") == digest(big)
    # One waits for it.
    waiting = pair.warren.host.start(*pair.argv("file", "get", "--wait", "--conflict=overwrite",
                                                "."), private=False,
                                     log=pair.dir / "get.log")
    (there / "big").rename(there / "large")
    pair.stock.cli("file", "cp", there / "large", "warren:")
    assert waiting.popen.wait(30) == 0, waiting.output()
    assert digest(pair.home / "large") == digest(big)


def cut(proc, moving, timeout=30):
    """Kills a transfer when a part has gone over, and returns how much."""
    part = wait_for("a part is over", lambda: (n := moving()) > BIG // 8 and n, timeout,
                    step=0.005)
    proc.kill(signal.SIGKILL)
    proc.popen.wait(5)
    return part


def test_resume_after_a_cut_from_stock(pair):
    # A slow way, so that it can be cut.
    pair.stock.host.run("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "200mbit",
                        "burst", "256k", "limit", "1m")
    big = make(pair.dir / "big", BIG)
    sending = pair.stock.host.start(
        pair.stock.programs / "tailscale", f"--socket={pair.stock.socket}", "file", "cp", big,
        "warren:", private=False, log=pair.dir / "cp.log")
    cut(sending, lambda: pair.moved("received"))
    wait_for("it is over here too", lambda: pair.warren.status()["taildrop"]["coming"] == 0)
    before = pair.moved("received")
    assert before < BIG
    assert pair.user("file", "get", ".").stdout == "" and not (pair.home / "big").exists()
    pair.stock.cli("file", "cp", big, "warren:")
    assert pair.moved("received") <= BIG + (64 << 10), (before, pair.moved("received"))
    pair.user("file", "get", ".")
    assert digest(pair.home / "big") == digest(big)


def test_resume_after_a_cut_to_stock(pair):
    pair.warren.host.run("tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "200mbit",
                         "burst", "256k", "limit", "1m")
    big = make(pair.home / "big", BIG)
    os.chown(big, USER, USER)
    sending = pair.warren.host.start(*pair.argv("file", "cp", "big", "stock:"), private=False,
                                     log=pair.dir / "cp.log")
    part = cut(sending, lambda: pair.moved("sent"))
    time.sleep(1)
    before = pair.moved("sent")
    pair.user("file", "cp", "big", "stock:")
    assert pair.moved("sent") - before < BIG - part // 2, (part, before, pair.moved("sent"))
    there = pair.dir / "there"
    there.mkdir()
    pair.stock.cli("file", "get", there)
    assert digest(there / "big") == digest(big)


def test_names_that_are_taken(pair):
    source = pair.dir / "note.txt"
    for text in ("one", "two", "two", "one"):
        source.write_text(text)
        pair.stock.cli("file", "cp", source, "warren:")
    # The same again is no second one.
    home = pair.home
    pair.user("file", "get", ".")
    assert {p.name: p.read_text() for p in home.iterdir()} == {"note.txt": "one",
                                                               "note (1).txt": "two"}
    source.write_text("three")
    pair.stock.cli("file", "cp", source, "warren:")
    said = pair.user("file", "get", ".", check=False)
    assert said.returncode == 1
    assert said.stdout == "refusing to overwrite file: open ./note.txt: file exists\n", said
    assert said.stderr == "warren file get: moved 0/1 files\n", said
    assert (home / "note.txt").read_text() == "one"
    said = pair.user("file", "get", "--conflict=rename", "--verbose", ".").stdout
    assert said == "wrote note.txt as ./note (2).txt (5 bytes)\nmoved 1/1 files\n", said
    source.write_text("four")
    pair.stock.cli("file", "cp", source, "warren:")
    pair.user("file", "get", "--conflict=overwrite", ".")
    assert (home / "note.txt").read_text() == "four"
    assert sorted(p.name for p in home.iterdir()) == ["note (1).txt", "note (2).txt", "note.txt"]
    # And with the stock client's inbox.
    for text in ("one", "two"):
        (home / "x.txt").write_text(text)
        pair.warren.cli("file", "cp", home / "x.txt", "stock:")
    there = pair.dir / "there"
    there.mkdir()
    pair.stock.cli("file", "get", there)
    assert sorted(p.read_text() for p in there.iterdir()) == ["one", "two"]


def test_an_inbox_of_the_operators(pair):
    inbox = pair.inbox
    inbox.mkdir(mode=0o1777)
    inbox.chmod(0o1777)
    pair.config(f"{{inbox: {inbox}, owner: '{USER}'}}")
    source = make(pair.dir / "photo.jpg", 3 << 20)
    refused = pair.stock.cli("file", "cp", source, "warren:", check=False)
    assert refused.returncode and "there is no user" in refused.stderr, refused
    pair.config(f"{{inbox: {inbox}, owner: daemon}}")
    # What somebody else has laid there is not written to.
    victim = pair.dir / "victim"
    victim.write_text("mine")
    (inbox / "evil.jpg").symlink_to(victim)
    pair.stock.cli("file", "cp", source, "warren:")
    pair.stock.cli("file", "cp", "--name=evil.jpg", source, "warren:")
    assert digest(inbox / "photo.jpg") == digest(inbox / "evil (1).jpg") == digest(source)
    assert (inbox / "photo.jpg").owner() == "daemon" and victim.read_text() == "mine"
    said = pair.user("file", "get", ".", check=False)
    assert said.returncode == 1 and str(inbox) in said.stderr, said


def test_limits(pair):
    source = make(pair.dir / "file", 200 << 10)
    pair.config("{max-file: 100KiB}")
    refused = pair.stock.cli("file", "cp", source, "warren:", check=False)
    assert refused.returncode and "larger than is accepted" in refused.stderr, refused
    pair.config("{max-total: 300KiB}")
    pair.stock.cli("file", "cp", source, "warren:")
    refused = pair.stock.cli("file", "cp", "--name=other", source, "warren:", check=False)
    assert refused.returncode and "the inbox is full" in refused.stderr, refused
    assert "more than taildrop.max-total; `warren file get` makes room" in pair.warren.log()
    # Of a pipe the length is not known before.
    refused = pair.stock.cli("file", "cp", "--name=piped", "-", "warren:", check=False,
                             input="x" * (200 << 10))
    assert refused.returncode, refused
    pair.config("{accept-from: [nobody@example.com]}")
    refused = pair.stock.cli("file", "cp", source, "warren:", check=False)
    assert refused.returncode and "Taildrop disabled" in refused.stderr, refused
    pair.config("{accept-from: [alice]}")
    pair.stock.cli("file", "cp", "--name=other", source, "warren:")
    pair.user("file", "get", "/dev/null")
    assert pair.user("file", "get", "--verbose", ".").stdout == ""


def test_what_cannot_be_sent(pair):
    (pair.home / "x").write_text("x")
    for argv, words in (
            (("x", "stock"), "final argument to 'warren file cp' must end in colon"),
            (("stock:",), "usage: warren file cp <files...> <target>:"),
            ((".", "stock:"), "directories not supported"),
            (("x", "nosuch:"), "can't send to nosuch: unknown target; not in your Tailnet"),
            (("x", "100.64.0.99:"), "can't send to 100.64.0.99: unknown target"),
            (("x", "x", "--name=y", "stock:"), "can't use --name= with multiple files"),
            (("--name=a/b", "x", "stock:"), "is no name that a peer takes")):
        said = pair.user("file", "cp", *argv, check=False)
        assert said.returncode == 1 and words in said.stderr, (argv, said)
    pair.stock.cli("down")
    wait_for("it is offline", lambda: "offline" in pair.user("file", "cp", "--targets").stdout, 90)


def within(pair, *argv, **kw):
    """Runs a program where the daemon's mounts are."""
    return pair.warren.host.run("nsenter", "-t", pair.warren.proc.pid, "-m", *argv, **kw)


def small_inbox(pair, mib):
    """An inbox of the operator's on a disk of @mib MiB; returns it as seen from here."""
    pair.inbox.mkdir(exist_ok=True)
    within(pair, "mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=1777", "small", pair.inbox)
    pair.config(f"{{inbox: {pair.inbox}, owner: daemon}}")
    return pathlib.Path(f"/proc/{pair.warren.proc.pid}/root{pair.inbox}")


def kept(inbox):
    """The one partial file there."""
    partial, = inbox.iterdir()
    assert re.fullmatch(r"file\.[A-Za-z0-9]+\.partial", partial.name), partial
    return partial.stat().st_size


def test_a_full_disk(pair):
    inbox = small_inbox(pair, 4)
    source = make(pair.dir / "file", 6 << 20)
    own = pair.warren.net
    ours = Warren(own, "sender", auth_key=own.control.auth_key("--user", "alice"), joined=False,
                  extra="taildrop: {}\n")
    wait_for("ours knows ours",
             lambda: "warren" in ours.cli("file", "cp", "--targets", check=False).stdout)
    for sender in (pair.stock, ours):
        # What is not there is said to both, and to the sender what to do.
        refused = sender.cli("file", "cp", source, "warren:", check=False)
        part = kept(inbox)
        assert 0 < part <= 4 << 20
        assert refused.returncode == 1
        assert f"no space is left where the file should go; {part} bytes of it are kept, " \
               "send it again to go on" in refused.stderr, refused
        name = "stock" if sender is pair.stock else "sender"
        said = wait_for("a line in the log", lambda: re.search(
            rf"a file of {name}\.\S* cannot be kept: no space is left .*", pair.warren.log()))[0]
        assert f"{part} bytes of it" in said and "make room" in said, said
        # It goes on there once there is room.
        before = pair.moved("received")
        within(pair, "mount", "-o", "remount,size=16m", pair.inbox)
        sender.cli("file", "cp", source, "warren:")
        assert pair.moved("received") - before <= (6 << 20) - part + (64 << 10)
        assert digest(inbox / "file") == digest(source)
        (inbox / "file").unlink()
        within(pair, "mount", "-o", "remount,size=4m", pair.inbox)


def test_a_full_folder_of_the_users(pair):
    source = make(pair.dir / "file", 3 << 20)
    pair.stock.cli("file", "cp", source, "warren:")
    target = pair.home / "small"
    target.mkdir()
    within(pair, "mount", "-t", "tmpfs", "-o", f"size=1m,uid={USER}", "small", target)
    said = within(pair, *pair.argv("file", "get", "small"), check=False)
    assert said.returncode == 1
    assert said.stdout == "cannot write small/file: No space left on device\n", said
    assert said.stderr == "warren file get: moved 0/1 files\n", said
    assert within(pair, "ls", "-A", target).stdout == ""
    within(pair, "mount", "-o", "remount,size=4m", target)
    within(pair, *pair.argv("file", "get", "small"))
    assert digest(f"/proc/{pair.warren.proc.pid}/root{target}/file") == digest(source)


def getting(pair, *argv):
    # Ctrl-C is heard wherever the suite itself was started.
    return pair.warren.host.start(*pair.argv("file", "get", *argv), private=False,
                                  log=pair.dir / f"get-{len(pair.warren.net.lab.procs)}.log",
                                  preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def test_get_in_a_loop(pair):
    big, small = make(pair.dir / "big", BIG), make(pair.dir / "small", 5)
    loop = getting(pair, "--loop", "--verbose", ".")
    # One that comes while another is copied is not forgotten.
    pair.stock.cli("file", "cp", big, small, "warren:")
    wait_for("both are there", lambda: (pair.home / "small").exists() and
             (pair.home / "big").exists(), 30)
    # What cannot be moved is told, tried again, and holds up nothing.
    pair.stock.cli("file", "cp", small, "warren:")
    wait_for("it is refused", lambda: "refusing to overwrite file: open ./small: file exists"
             in loop.output())
    pair.stock.cli("file", "cp", "--name=other", small, "warren:")
    wait_for("the other is there", lambda: (pair.home / "other").exists())
    (pair.home / "small").unlink()
    wait_for("it is there", lambda: (pair.home / "small").exists())
    assert digest(pair.home / "big") == digest(big)
    assert loop.popen.poll() is None
    loop.kill(signal.SIGINT)
    loop.popen.wait(5)
    assert sorted(p.name for p in pair.home.iterdir()) == ["big", "other", "small"]
    assert pair.user("file", "get", "--verbose", ".").stdout == ""


def inbox_of(pair):
    folder, = pair.warren.state_dir.rglob("taildrop/inbox")
    return folder


def test_an_interrupted_get_leaves_nothing(pair):
    inbox, size = inbox_of(pair), 1 << 30
    waiting = getting(pair, "--wait", ".")
    wait_for("it waits", lambda: waiting.popen.poll() is None)
    waiting.kill(signal.SIGINT)
    waiting.popen.wait(5)
    # A hole takes no time to be made and a while to be copied.
    with open(inbox / "large", "wb") as out:
        out.truncate(size)
    os.chown(inbox / "large", inbox.stat().st_uid, inbox.stat().st_gid)
    copying = getting(pair, ".")
    wait_for("it is being copied", lambda: any(pair.home.iterdir()), step=0.001)
    copying.kill(signal.SIGINT)
    copying.popen.wait(5)
    assert copying.popen.returncode == -signal.SIGINT
    assert not any(pair.home.iterdir()), list(pair.home.iterdir())
    assert (inbox / "large").stat().st_size == size
    # Nor does it hold up who comes after it.
    (inbox / "large").unlink()
    source = make(pair.dir / "file", 5)
    pair.stock.cli("file", "cp", source, "warren:")
    pair.user("file", "get", ".")
    assert [p.name for p in pair.home.iterdir()] == ["file"]


def test_old_partials_are_removed(pair):
    inbox = inbox_of(pair)
    stock = pair.stock.status()["Self"]["ID"]
    long_ago = time.time() - 7200

    def lay(folder, name, old):
        (folder / name).write_bytes(b"x")
        os.chown(folder / name, folder.stat().st_uid, folder.stat().st_gid)
        if old:
            os.utime(folder / name, (long_ago, long_ago))

    def names(folder):
        return sorted(p.name for p in folder.iterdir())

    for name, old in ((f"old.{stock}.partial", True), (f"new.{stock}.partial", False),
                      ("of nobody.nGone.partial", True), ("whole", True)):
        lay(inbox, name, old)
    pair.warren.stop()
    pair.warren.start()
    left = [f"new.{stock}.partial", "whole"]
    wait_for("the old ones are gone", lambda: names(inbox) == left)
    # A new one is gone on with; who is told of it is its sender.
    url = wait_for("stock knows ours again",
                   lambda: (pair.stock.peer("warren") or {}).get("PeerAPIURL"))[0]
    told = wait_for("it is told", lambda: pair.stock.host.run(
        "curl", "-sS", "-m", "5", f"{url}/v0/put/", check=False).stdout)
    assert told == f'["new.{stock}.partial"]\n', told
    # In the operator's folder only what a peer of ours has left.
    pair.inbox.mkdir(mode=0o777)
    pair.inbox.chmod(0o777)
    for name, old in ((f"old.{stock}.partial", True), (f"new.{stock}.partial", False),
                      ("of nobody.nGone.partial", True), ("mine.partial", True)):
        lay(pair.inbox, name, old)
    pair.config(f"{{inbox: {pair.inbox}, owner: root}}")
    left = ["mine.partial", f"new.{stock}.partial", "of nobody.nGone.partial"]
    wait_for("the old one is gone", lambda: names(pair.inbox) == left)

"""The command line and the control socket of a whole daemon, as an operator meets them."""

import array
import json
import os
import re
import signal
import socket
import time

import pytest

import lab as lablib
from lab import BINDIR, Daemon, run, wait_for

OPERATOR, STRANGER = 12345, 54321
YAML = """node: {operator: "12345"}
wg: {}
static:
  addresses: [10.90.0.1/24]
  peers:
    far:
      public-key: JM4lpxxvNIlqziIC+1WS6rmHA0F30Hoogs8bVKZytBw=
      allowed-ips: [10.90.0.2/32]
router: {}
"""


@pytest.fixture
def daemon(lab):
    lab.dir.chmod(0o711)
    one = Daemon(lab.host("a"), YAML)
    one.dir.chmod(0o711)
    return one


def warren(daemon, *argv, uid=0, **kw):
    """Runs warren beside the daemon's configuration, as a user who need not have an account."""
    prefix = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"] if uid else []
    return run(*prefix, BINDIR / "warren", "--socket", daemon.socket, "--config", daemon.config,
               *argv, check=False, **kw)


def connect(daemon):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(10)
    client.connect(str(daemon.socket))
    return client


def ask(daemon, request):
    """Sends one line as it is; returns the lines of the answer up to its end."""
    with connect(daemon) as client:
        client.sendall(request)
        data = b""
        while b'"end"' not in data:
            more = client.recv(65536)
            if not more:
                break
            data += more
    return [json.loads(line) for line in data.splitlines()]


def test_status(daemon):
    text = daemon.cli("status").stdout
    assert re.match(r"warrend \S+ on \S+, up \d+s, 5 of 5 plugins running\n", text)
    assert re.search(r"^far +10\.90\.0\.2 ", text, re.M)
    status = daemon.status()
    assert status["plugins"]["wg"]["state"] == "up"
    assert status["wg"]["peers"][0]["name"] == "far"
    assert status["daemon"]["pid"] == daemon.engine_pid()


def test_every_verb(daemon):
    """All of them explain themselves and answer with JSON."""
    commands = [c["command"] for c in daemon.json("help", "--all")["commands"]]
    assert {"status", "plugins", "config check", "reload", "wg import"} <= set(commands)
    for command in commands:
        words = command.split()
        said = daemon.cli(*words, "--help").stdout
        assert said.startswith(f"Usage: warren {command}"), command
        described = daemon.json(*words, "--help")
        assert described["command"] == command and described["brief"].endswith(".")
    for words in (["status"], ["plugins"], ["config", "show"], ["metrics"], ["log", "level"],
                  ["doctor"], ["version"], ["help"], ["reload"], ["config", "schema"],
                  ["identity", "show"], ["wg", "genkey"]):
        assert isinstance(daemon.json(*words), dict), words


def test_exit_status_and_words(daemon):
    for argv, exit_status, words in [
            (["statsu"], 2, 'warren: unknown command "statsu", did you mean "status"'),
            (["config", "shwo"], 2, 'did you mean "config show"'),
            (["config", "show", "--orign"], 2,
             "warren config show: unknown option --orign, did you mean --origin\n"
             "Usage: warren config show"),
            (["log", "level", "wg", "loud"], 1, 'warren log level: "loud" is no level'),
            (["wg", "import", "/nonexistent"], 1, "cannot open /nonexistent: No such file"),
            (["doctor", "nothing"], 1, 'there is no check "nothing"')]:
        done = warren(daemon, *argv)
        assert done.returncode == exit_status, argv
        assert words in done.stderr and done.stdout == "", argv


def test_no_daemon(daemon):
    daemon.stop()
    done = warren(daemon, "status")
    assert done.returncode == 1
    assert f"warrend is not running (nobody listens on {daemon.socket})" in done.stderr
    assert "systemctl start warrend" in done.stderr
    assert "status" in warren(daemon, "help").stdout
    assert warren(daemon, "config", "check").stdout.endswith("warren.yaml is good\n")
    key = warren(daemon, "wg", "genkey").stdout
    assert len(warren(daemon, "wg", "pubkey", input=key).stdout) == 45


def test_configuration(daemon):
    """check, diff, reload and show, with a mistake on the way."""
    assert "No difference" in warren(daemon, "config", "diff").stdout
    daemon.write(YAML.replace("wg: {}", "wg: {mtu: 1300, prot: 1}"))
    done = warren(daemon, "config", "check")
    assert done.returncode == 1
    assert re.search(rf"^{daemon.config}:2:17: .*prot.*did you mean.*port", done.stdout, re.M)
    found = json.loads(warren(daemon, "config", "check", "--json").stdout)
    assert not found["good"]
    assert (found["errors"][0]["line"], found["errors"][0]["column"]) == (2, 17)
    done = warren(daemon, "reload")
    assert done.returncode == 1 and f"{daemon.config}:2:17: " in done.stderr
    assert daemon.json("config", "show")["config"].get("wg") in ({}, None)

    daemon.write(YAML.replace("wg: {}", "wg: {mtu: 1300}"))
    assert "wg.mtu: 1280 -> 1300" in warren(daemon, "config", "diff").stdout
    assert warren(daemon, "reload").returncode == 0
    assert "No difference" in warren(daemon, "config", "diff").stdout
    assert daemon.json("config", "show")["config"]["wg"]["mtu"] == 1300
    assert re.search(rf"mtu: 1300 +# {daemon.config}:2$",
                     warren(daemon, "config", "show", "--origin").stdout, re.M)
    # What it shows means the same.
    shown = daemon.dir / "shown.yaml"
    shown.write_text(warren(daemon, "config", "show").stdout)
    done = run(BINDIR / "warren", "--socket", daemon.socket, "config", "diff", shown)
    assert "No difference" in done.stdout


def test_example_is_valid(daemon):
    example = daemon.dir / "example.yaml"
    example.write_text(warren(daemon, "config", "example").stdout)
    assert "is good" in warren(daemon, "config", "check", example).stdout


def test_who_may(daemon):
    for uid in (OPERATOR, STRANGER):
        assert warren(daemon, "status", uid=uid).returncode == 0
    assert warren(daemon, "reload", uid=OPERATOR).returncode == 0
    done = warren(daemon, "reload", uid=STRANGER)
    assert done.returncode == 1
    assert "warren reload: permission denied: only root and the operator may do this" in done.stderr
    assert warren(daemon, "config", "show", uid=STRANGER).returncode == 1
    # A reload can name somebody else.
    daemon.write(YAML.replace("12345", str(STRANGER)))
    assert warren(daemon, "reload").returncode == 0
    assert warren(daemon, "reload", uid=STRANGER).returncode == 0
    assert warren(daemon, "reload", uid=OPERATOR).returncode == 1


def test_log_level(daemon):
    assert daemon.json("log", "level")["wg"] == "notice"
    assert daemon.json("log", "level", "wg", "debug") == {"wg": "debug"}
    assert "log level of wg is now debug" in daemon.log()
    daemon.cli("log", "level", "wg", "default")
    assert daemon.json("log", "level")["wg"] == "notice"


def test_completion(daemon):
    def complete(*words):
        return [line.split(" ")[0]
                for line in daemon.cli("__complete", "--", *words).stdout.splitlines()]
    assert complete("wg", "gen") == ["genkey", "genpsk"]
    assert complete("wg", "import", "") == [":file"]
    assert complete("config", "show", "--o") == ["--origin"]


def test_garbage(daemon):
    """Whatever is written to the socket: an answer or an end, and the daemon goes on."""
    engine = daemon.engine_pid()
    for bytes_ in (b"\n", b"{}\n", b"[" * 60000 + b"\n", b"\xff\xfe\n", b'{"argv":1}\n',
                   b"GET / HTTP/1.1\r\n\r\n", b'{"argv":["status"],"argv":["reload"]}\n',
                   b"x" * 70000):
        answer = ask(daemon, bytes_)
        assert answer[-1]["end"]["exit"] == 2 and answer[-1]["end"]["error"], bytes_[:20]
    for _ in range(20):
        with connect(daemon) as client:
            read, write = os.pipe()
            fds = array.array("i", [read] * 30)
            try:
                client.sendmsg([b'{"argv":["status"]}'],
                               [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
            finally:
                os.close(read)
                os.close(write)
    wait_for("its descriptors are closed",
             lambda: len(os.listdir(f"/proc/{engine}/fd")) < 40)
    assert daemon.engine_pid() == engine
    assert daemon.cli("status").returncode == 0


def test_clients_that_only_sit_there(daemon):
    """They take no place from root, and the commands of a stranger wait, not everybody's."""
    script = ("import socket,sys,time\n"
              "held = []\n"
              "for _ in range(100):\n"
              "    s = socket.socket(socket.AF_UNIX)\n"
              "    s.connect(sys.argv[1])\n"
              "    held.append(s)\n"
              "    try:\n"
              "        s.send(b'{\"argv\":[\"metrics\"]}\\n' * 20)\n"
              "    except OSError:\n"
              "        pass\n"
              "print('there', flush=True)\n"
              "time.sleep(60)\n")
    log = daemon.dir / "sitting.log"
    sitting = daemon.host.start("setpriv", "--reuid", STRANGER, "--regid", STRANGER,
                                "--clear-groups", "/usr/bin/python3", "-c", script, daemon.socket,
                                log=log, private=False)
    wait_for("they sit", lambda: "there" in log.read_text() or not sitting.alive())
    assert sitting.alive(), log.read_text()
    for _ in range(5):
        assert daemon.cli("status", timeout=20).returncode == 0
    assert "no more clients of uid 54321 are let in" in daemon.log()
    sitting.stop()
    wait_for("the stranger is served again",
             lambda: warren(daemon, "version", uid=STRANGER).returncode == 0)


def test_engine_dies_under_a_client(daemon):
    """The client is told, and the next one is served by the new engine."""
    engine = daemon.engine_pid()
    client = connect(daemon)
    wait_for("the engine has the client", lambda: ask(daemon, b'{"argv":["version"]}\n'))
    os.kill(engine, signal.SIGKILL)
    assert client.recv(1) == b""
    client.close()
    wait_for("there is a new engine", lambda: daemon.engine_pid() not in (None, engine))
    daemon.ready()
    assert daemon.cli("status").returncode == 0


def test_requests_on_one_connection(daemon):
    with connect(daemon) as client:
        client.sendall(b'{"argv":["version"],"format":"json"}\n' * 3)
        data, began = b"", time.monotonic()
        while data.count(b'"end"') < 3:
            assert time.monotonic() - began < 10
            data += client.recv(65536)
    assert data.count(b'"daemon":true') == 3


def test_pipe_that_closes(daemon):
    """Like any filter, warren ends when nobody reads, and without a word."""
    done = run("sh", "-c", f"{BINDIR}/warren --socket {daemon.socket} metrics 2>&1 | head -n 1")
    assert done.stdout.startswith("# HELP warren_") and done.stdout.count("\n") == 1
    full = run("sh", "-c", f"{BINDIR}/warren --socket {daemon.socket} metrics >/dev/full",
               check=False)
    assert full.returncode == 1 and "cannot write the answer: No space left" in full.stderr


def test_import_is_usable(daemon):
    """A wg-quick file, through a pipe, into a configuration that checks."""
    conf = (f"[Interface]\nPrivateKey = {lablib.genkey()}\nAddress = 10.0.0.1/24\n"
            f"ListenPort = 51820\n[Peer]\nPublicKey = {lablib.pubkey(lablib.genkey())}\n"
            "AllowedIPs = 10.0.0.2/32\nEndpoint = 192.0.2.9:51820\n")
    done = warren(daemon, "wg", "import", "-", input=conf)
    assert done.returncode == 0, done.stderr
    imported = daemon.dir / "imported.yaml"
    imported.write_text(done.stdout)
    checked = warren(daemon, "config", "check", imported)
    assert checked.returncode == 0, checked.stdout + checked.stderr

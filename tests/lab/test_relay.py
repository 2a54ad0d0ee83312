"""relay: what it says at start of a STUN port that is not reached under its name; its own ports."""

import json
import pathlib
import re
import subprocess
import sys

from lab import Daemon, run, wait_for

FRONT = "front: {tls: self-signed}\n"
COORDINATOR = ("coordinator: {url: 'http://hq.example.com:8080', listen: '0.0.0.0:8080', "
               "base-domain: tail.example.com}\n")


def findings(daemon):
    lines = daemon.cli("doctor", check=False).stdout.splitlines()
    return "\n".join(line for line in lines
                     if " relay.reachable" in line and not line.startswith("ok"))


def finds(daemon, words):
    return wait_for(words, lambda: words in findings(daemon) and findings(daemon), 20)


def test_stun_that_is_not_reached_is_told(pair):
    ours, other = pair
    ours.names = {"hq.example.com": "192.0.2.1"}
    Daemon(other, FRONT + "relay: {verify: anyone}\n")
    daemon = Daemon(ours, FRONT + COORDINATOR + "relay: {}\n")
    wait_for("it has asked itself by the coordinator's name", lambda: re.search(
        r"^warren_relay_stun\w*{.*answered.*} 1$", daemon.cli("metrics").stdout, re.M))
    assert not findings(daemon)

    ours.run("nft", "add table inet shut; add chain inet shut input { type filter hook input "
             "priority 0; udp dport 3479 drop; }")
    daemon.write(FRONT + COORDINATOR + "relay: {stun-port: 3479}\n")
    daemon.cli("reload")
    text = finds(daemon, "STUN of this box is not reached at hq.example.com (192.0.2.1)")
    assert "UDP port 3479 does not answer" in text
    assert text.split(": ", 1)[1][:60] in daemon.proc.output(), "it is said in the log as well"

    daemon.write(FRONT + COORDINATOR + "relay: {host: 192.0.2.2}\n")
    daemon.cli("reload")
    finds(daemon, "192.0.2.2 (192.0.2.2) leads to another machine")

    daemon.write(FRONT + COORDINATOR + "relay: {host: nowhere.invalid}\n")
    daemon.cli("reload")
    finds(daemon, "clients do not find the relay of this box: nowhere.invalid")

    daemon.write(FRONT + COORDINATOR + "relay: {host: 192.0.2.1}\n")
    daemon.cli("reload")
    wait_for("all is well", lambda: not findings(daemon), 20)


def certificate(host, place):
    """The SHA-256 of what answers, and the names it is for."""
    text = host.run("sh", "-c", f"echo | openssl s_client -connect {place} 2>/dev/null | openssl "
                    "x509 -outform pem -ext subjectAltName -fingerprint -sha256 -noout").stdout
    pin = re.search(r"Fingerprint=([0-9A-F:]+)", text)[1].replace(":", "").lower()
    return pin, set(re.findall(r"(?:DNS|IP Address):([^,\s]+)", text))


def curl(host, *argv):
    return host.run("curl", "-sSki", "-m", 10, *argv).stdout


def results(daemon, *argv):
    checks = json.loads(daemon.cli("relay", "check", *argv, "--json", check=False).stdout)["checks"]
    return {c["check"]: c["result"] for c in checks}


def test_the_certificate_of_front_says_its_names(pair):
    """Those of the files, and what other plugins bring along in the same start; then it is kept."""
    ours, other = pair
    yaml = ("front: {tls: self-signed, names: [www.example.com], address: 192.0.2.1}\n"
            "coordinator: {url: 'https://hq.example.com', base-domain: tail.example.com}\n"
            "relay: {host: %s}\n")
    daemon = Daemon(ours, yaml % "relay.example.com")
    pin, names = certificate(other, "192.0.2.1:443")
    assert names == {"192.0.2.1", "www.example.com", "hq.example.com", "relay.example.com"}
    assert daemon.stop() == 0
    daemon.write(yaml % "another.example.com")
    daemon.start()
    assert certificate(other, "192.0.2.1:443") == (pin, names)


BROWSER = r"""
import asyncio, ssl, sys, websockets

async def ends(ws, code):
    try:
        while True:
            await asyncio.wait_for(ws.recv(), 5)
    except websockets.ConnectionClosed:
        assert ws.close_code == code, (ws.close_code, code)

async def main(url):
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    connect = lambda **kw: websockets.connect(
        url, subprotocols=["derp"], origin="https://example.com", ping_interval=None,
        ssl=tls if url.startswith("wss") else None, **kw)
    async with connect() as ws:              # which offers to compress
        assert ws.subprotocol == "derp" and not ws.extensions, ws.extensions
        got = await asyncio.wait_for(ws.recv(), 5)
        assert got[:13] == b"\x01\0\0\0\x28DERP\xf0\x9f\x94\x91" and len(got) == 45, got
        await asyncio.wait_for(await ws.ping(b"x" * 125), 5)
        await ws.send([b"\x7f", b"\0\0", b"\0\1x"])     # one message in pieces
        await ws.close()
        assert ws.close_code == 1000
    async with connect() as ws:
        await ws.send("text")
        await ends(ws, 1003)
    async with connect(compression=None) as ws:
        await ws.send(b"\x12" + bytes(4))    # no login: the relay ends it
        await ends(ws, 1006)
    print("all is well")

asyncio.run(main(sys.argv[1]))
"""


def test_websockets(pair, lab):
    """With a client library of its own making; the stock client is in tests/interop."""
    ours, other = pair
    script = lab.dir / "browser.py"
    script.write_text(BROWSER)
    browse = lambda url: other.run(sys.executable, script, url).stdout
    daemon = Daemon(ours, "front: {tls: self-signed}\nrelay: {verify: anyone}\n")
    assert browse("wss://192.0.2.1/derp") == "all is well\n"
    assert daemon.metric("warren_relay_websockets") == 3
    assert daemon.stop() == 0
    for tls, url in (("self-signed", "wss://192.0.2.1/derp"), ("off", "ws://192.0.2.1:443/derp")):
        own = Daemon(ours, f"relay: {{verify: anyone, listen: 443, tls: {tls}}}\n", name=f"-{tls}")
        assert browse(url) == "all is well\n"
        assert own.metric("warren_relay_websockets") == 3
        assert own.stop() == 0


CLIENT = r"""
import json, socket, sys
from nacl.public import Box, PrivateKey, PublicKey

def exactly(n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        assert more, "the relay has closed"
        data += more
    return data

def frame():
    head = exactly(5)
    return head[0], exactly(int.from_bytes(head[1:], "big"))

def send(kind, data):
    s.sendall(bytes([kind]) + len(data).to_bytes(4, "big") + data)

s = socket.create_connection((sys.argv[1], 443))
s.sendall(b"GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n"
          b"Derp-Fast-Start: 1\r\n\r\n")
kind, data = frame()
assert kind == 1
key = PrivateKey.generate()
info = json.dumps({"version": 2, "CanAckPings": True}).encode()
send(2, bytes(key.public_key) + Box(key, PublicKey(data[8:40])).encrypt(info))
assert frame()[0] == 3
print(bytes(key.public_key).hex(), flush=True)
if len(sys.argv) > 2:
    send(4, bytes.fromhex(sys.argv[2]) + b"hello")
sys.stdin.read()
"""


def test_a_client_that_is_cut_off(pair, lab):
    """Nothing ends its connection, so nothing says so: what is not acknowledged does."""
    ours, other = pair
    script = lab.dir / "client.py"
    script.write_text(CLIENT)
    daemon = Daemon(ours, "relay: {verify: anyone, listen: 443, tls: off}\n")

    clients = []

    def client(host, *to):
        popen = subprocess.Popen(host.argv(sys.executable, script, "192.0.2.1", *to), text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        clients.append(popen)
        return popen.stdout.readline().strip()

    try:
        key = client(other)
        other.run("nft", "add table inet cut; add chain inet cut out { type filter hook output "
                  "priority 0; policy drop; }; add chain inet cut in { type filter hook input "
                  "priority 0; policy drop; }")
        client(ours, key)
        assert daemon.json("relay", "status")["clients"] == 2
        wait_for("it is gone", lambda: daemon.json("relay", "status")["clients"] == 1, 60)
        assert daemon.json("relay", "status")["connections"][0]["key"] != f"nodekey:{key}"
    finally:
        for popen in clients:
            popen.kill()
            popen.communicate()


OWN = ("relay: {{verify: anyone, host: relay.test, listen: {listen}, listen-http: ':80', "
       "{rest}}}\n")


def test_by_listeners_of_its_own(pair):
    ours, other = pair
    daemon = Daemon(ours, OWN.format(listen="[':443', '192.0.2.1:8443']", rest=""))
    looker = Daemon(other, "")
    served = next(line for line in daemon.cli("doctor", check=False).stdout.splitlines()
                  if " relay.served" in line)
    assert served.startswith("ok"), served
    pin, names = certificate(other, "192.0.2.1:443")
    assert names == {"relay.test", "192.0.2.1"}
    assert (pin, names) == certificate(other, "192.0.2.1:8443")
    assert daemon.json("relay", "status")["sha256"] == pin
    at = ("relay.test", "--address", "192.0.2.1", "--anyone", "--pin", f"sha256-raw:{pin}")
    assert set(results(looker, *at).values()) <= {"ok", "left-out"}, results(looker, *at)

    for path in ("derp/probe", "derp/latency-check"):
        for place in ("https://192.0.2.1", "http://192.0.2.1"):
            assert curl(other, f"{place}/{path}").startswith("HTTP/1.1 200"), path
    assert curl(other, "http://192.0.2.1/generate_204").startswith("HTTP/1.1 204")
    text = curl(other, "http://192.0.2.1/derp")
    assert text.startswith("HTTP/1.1 308") and "https://192.0.2.1/derp" in text
    assert curl(other, "https://192.0.2.1/derp").startswith("HTTP/1.1 426")
    assert curl(other, "https://192.0.2.1/").startswith("HTTP/1.1 404")

    # The place that stays keeps its connections, and the certificate is kept over a restart.
    daemon.write(OWN.format(listen="[':8443']", rest="port: 443"))
    daemon.cli("reload")
    assert certificate(other, "192.0.2.1:8443")[0] == pin
    assert other.run("curl", "-sk", "-m", 3, "https://192.0.2.1:443/", check=False).returncode == 7
    assert daemon.stop() == 0
    daemon.start()
    assert certificate(other, "192.0.2.1:8443")[0] == pin

    # A port that is taken: what was before goes on.
    ours.start(sys.executable, "-c", "import socket, time; s = socket.create_server(('', 444)); "
               "time.sleep(60)")
    wait_for("it is taken", lambda: ":444 " in ours.run("ss", "-ltn").stdout)
    daemon.write(OWN.format(listen="[':444']", rest=""))
    assert daemon.cli("reload", check=False).returncode != 0
    assert certificate(other, "192.0.2.1:8443")[0] == pin

    # Behind a proxy that has the certificate.
    daemon.write(OWN.format(listen="[':8443']", rest="tls: off"))
    daemon.cli("reload")
    assert curl(other, "http://192.0.2.1:8443/derp").startswith("HTTP/1.1 426")
    assert curl(other, "http://192.0.2.1/derp").startswith("HTTP/1.1 426")


def test_its_certificate_of_files_and_who_is_slow(pair, lab):
    ours, other = pair
    key, cert = lab.dir / "own.key", lab.dir / "own.crt"

    def make(name):
        for part in (key, cert):
            part.unlink(missing_ok=True)
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-days",
            "30", "-keyout", f"{key}.new", "-out", f"{cert}.new")
        for part in (key, cert):
            pathlib.Path(f"{part}.new").rename(part)

    make("one.test")
    daemon = Daemon(ours, OWN.format(listen="':443'", rest=f"tls: {{cert: {cert}, key: {key}}}"))
    looker = Daemon(other, "")
    first, names = certificate(other, "192.0.2.1:443")
    assert names == {"one.test"}
    assert "sha256" not in daemon.json("relay", "status")
    at = ("one.test", "--address", "192.0.2.1", "--anyone", "--pin")
    slow = other.start(sys.executable, "-c", "import socket, time\n"
                       "all = [socket.create_connection(('192.0.2.1', 443)) for _ in range(70)]\n"
                       "time.sleep(60)")
    wait_for("too many of one address have not logged in",
             lambda: daemon.metric('warren_relay_refused{reason="crowd"}') >= 6)
    assert curl(ours, "https://192.0.2.1/derp/probe").startswith("HTTP/1.1 200")
    slow.kill()
    wait_for("those are gone", lambda: results(looker, *at, f"sha256-raw:{first}")["login"] == "ok")
    make("two.test")
    wait_for("the new one answers",
             lambda: certificate(other, "192.0.2.1:443")[1] == {"two.test"})
    broken = cert.read_text().replace("A", "B")
    cert.write_text(broken)
    wait_for("the broken one is told", lambda: "do not work together" in daemon.log())
    assert certificate(other, "192.0.2.1:443")[1] == {"two.test"}

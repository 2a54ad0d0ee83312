"""How our daemon reaches a control server: TLS, ports 80 and 443, refusals for a while."""

import re

import pytest

from interop import Tailnet, Tailscaled, Warren, run, wait_for

SECURE, PLAIN = f"https://{Tailnet.GATEWAY4}", f"http://{Tailnet.GATEWAY4}"


def used_port(host):
    """The port of the server that the only connection to 80 or 443 goes to."""
    shown = host.run("ss", "-tnH", "state", "established", "dst", Tailnet.GATEWAY4).stdout
    ports = re.findall(rf" {re.escape(Tailnet.GATEWAY4)}:(80|443)\b", shown)
    assert len(ports) == 1, shown
    return int(ports[0])


def swallow(tailnet, port):
    """Packets to that port of the server vanish, as behind some firewalls."""
    tailnet.switch.run("nft", "add", "table", "inet", "lab")
    tailnet.switch.run("nft", "add", "chain", "inet", "lab", "in",
                       "{ type filter hook input priority 0; }")
    tailnet.switch.run("nft", "add", "rule", "inet", "lab", "in", "tcp", "dport", port, "drop")


def trusting(tailnet):
    return f"\n  ca-file: {tailnet.control.ca}"


@pytest.mark.control(url=SECURE, listen="", tls=":443")
def test_tls_is_verified_with_the_ca_file(tailnet):
    warren = Warren(tailnet, joined=False)
    wait_for("the refusal", lambda: "certificate" in warren.control().get("error", ""))
    assert "Got tailcfg" not in tailnet.control.output()
    warren.write(warren.config.read_text().replace("control:\n", f"control:{trusting(tailnet)}\n"))
    warren.cli("reload")
    warren.joined()
    stock = Tailscaled(tailnet, SSL_CERT_FILE=str(tailnet.control.ca))
    warren.pings(stock.ip4)
    stock.pings(warren.ip6)
    assert used_port(warren.host) == 443


@pytest.mark.control(url="https://hq.example.com", listen="", tls=":443")
def test_tls_server_of_another_name(tailnet):
    tailnet.control.url = SECURE
    warren = Warren(tailnet, control=trusting(tailnet), joined=False)
    wait_for("the refusal", lambda: "mismatch" in
             warren.control().get("error", ""))
    assert "http GET /key" not in tailnet.control.output()


@pytest.mark.control(url=SECURE, listen="", tls=":443")
def test_port_80_that_swallows(tailnet):
    """The other way is begun while the first hangs."""
    swallow(tailnet, 80)
    warren = Warren(tailnet, control=trusting(tailnet))
    assert used_port(warren.host) == 443


@pytest.mark.control(url=PLAIN, listen=":80")
def test_port_443_that_swallows(tailnet):
    swallow(tailnet, 443)
    warren = Warren(tailnet)
    assert used_port(warren.host) == 80


@pytest.mark.control("-plain-key-only", url=PLAIN, listen=":80", tls=":443")
def test_port_80_that_lets_no_upgrade_through(tailnet):
    """TLS to an authority that nobody vouches for: the server is known by its key."""
    warren = Warren(tailnet)
    assert used_port(warren.host) == 443
    stock = Tailscaled(tailnet)
    assert used_port(stock.host) == 443
    warren.pings(stock.ip4)


@pytest.mark.control(url=SECURE, listen=":80", tls=":443")
def test_port_80_is_first_as_with_the_stock_client(tailnet):
    warren = Warren(tailnet, control=trusting(tailnet))
    stock = Tailscaled(tailnet, SSL_CERT_FILE=str(tailnet.control.ca))
    assert used_port(warren.host) == used_port(stock.host) == 80


def test_login_comes_again_when_the_server_says(tailnet):
    """Not before; the own backoff would be some milliseconds."""
    tailnet.control.ask("busy", Count=2, Seconds=2)
    warren = Warren(tailnet, joined=False)
    wait_for("the refusal", lambda: "http 429: too many logins" in
             warren.control().get("error", ""))
    warren.joined()
    first, second, third = tailnet.control.ask("logins")[:3]
    assert second - first >= 2 and third - second >= 2
    assert "error" not in warren.control()


# A proxy with TLS that takes CONNECT; prints what it is asked for.
PROXY = r"""
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])

def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    source.close()
    sink.close()

def serve(conn):
    client, head = context.wrap_socket(conn, server_side=True), b""
    while not head.endswith(b"\r\n\r\n"):
        head += client.recv(1)
    print(head.split(b"\r\n")[0].decode(), flush=True)
    host, port = head.split()[1].decode().rsplit(":", 1)
    server = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    threading.Thread(target=pump, args=(server, client), daemon=True).start()
    pump(client, server)

listener = socket.create_server((sys.argv[1], 443))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


def test_plan_leads_through_a_proxy(tailnet):
    """The server names a host to CONNECT through; with its own address out of reach that serves."""
    cert, key = tailnet.lab.dir / "ace.pem", tailnet.lab.dir / "ace.key"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", key, "-out", cert, "-subj", "/CN=ace.test", "-addext",
        "subjectAltName=DNS:ace.test")
    warren = Warren(tailnet, control=f"\n  ca-file: {cert}")
    proxy = tailnet.switch.start("/usr/bin/python3", "-c", PROXY, tailnet.GATEWAY4, cert, key,
                                 private=False)
    wait_for("the proxy listens", lambda: f"{tailnet.GATEWAY4}:443" in tailnet.switch.run(
        "ss", "-ltn").stdout)
    tailnet.control.ask("raw", Key=tailnet.control.key("warren"), Response={
        "ControlDialPlan": {"Candidates": [
            {"IP": tailnet.GATEWAY4, "ACEHost": "ace.test", "Priority": 10,
             "DialTimeoutSec": 10}]}})
    wait_for("it keeps the plan", lambda: "ace.test" in "".join(
        f.read_text() for f in warren.state_dir.glob("engine/control/*.json")))
    before = len([r for r in tailnet.control.requests("map") if r.get("Stream")])
    warren.host.ip("route", "add", "blackhole", tailnet.CONTROL)
    warren.host.run("ss", "-K", "dst", tailnet.CONTROL)
    wait_for("it asks the proxy", lambda: f"CONNECT {tailnet.CONTROL}:8080" in proxy.output(), 20)
    # `raw` has ended the server's own answers to this node: what counts is that it asks again.
    wait_for("it opens its map", lambda: len([
        r for r in tailnet.control.requests("map") if r.get("Stream")]) > before, 20)
    assert used_port(warren.host) == 443

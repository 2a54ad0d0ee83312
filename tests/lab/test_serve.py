"""serve between two of ours: what peers get of this host, and what backends are told."""

import json
import pathlib
import signal
import sys

from foreign import unpacked
from lab import BINDIR, Daemon, run, wait_for
from test_svcnet import ALONE, A, A6, B, WALL, Mesh

ECHO = pathlib.Path(__file__).parent / "webecho.py"
FORGED = ("Tailscale-User-Login: root@evil", "Tailscale_User_Login: root@evil",
          "X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: evil", "Forwarded: for=127.0.0.1",
          "X-Real-IP: 127.0.0.1")
# Sends what it is given, ends its direction, and prints what comes until the end.
RAW = ("import socket, sys\n"
       "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)\n"
       "s.sendall(sys.stdin.buffer.read()); s.shutdown(socket.SHUT_WR)\n"
       "out = b''\n"
       "while got := s.recv(65536): out += got\n"
       "print(out.hex())\n")


def curl(host, url, *options, check=True, **kw):
    return host.run("curl", "-sS", "-m", "20", *options, url, check=check, **kw)


def code(host, url, *options):
    return curl(host, url, "-o", "/dev/null", "-w", "%{http_code}", *options).stdout


def backend(host, *argv):
    """One of webecho.py, running."""
    proc = host.start(sys.executable, ECHO, *argv, private=False,
                      log=host.lab.dir / f"{host.name}-{argv[0]}.log")
    wait_for("the backend listens", lambda: "ready" in proc.output())
    return proc


def raw(host, port, data):
    said = host.run(sys.executable, "-c", RAW, A, port, input=data).stdout
    return bytes.fromhex(said).decode("latin-1")


def serve(yaml):
    return "\nserve:\n" + yaml


def test_http_to_a_backend(lab):
    mesh = Mesh(lab, listen=serve("  http: {80: {/: 3000, /app: 'http://127.0.0.1:3000/base'}}\n"))
    backend(mesh.a, "http", "127.0.0.1", 3000)
    said = json.loads(curl(mesh.b, f"http://{A}/x/y?q=1", *(
        word for field in FORGED for word in ("-H", field))).stdout)
    assert (said["method"], said["path"]) == ("GET", "/x/y?q=1")
    told = [(name.lower(), value) for name, value in said["headers"]]
    assert sorted(t for t in told if t[0] not in ("user-agent", "accept")) == [
        ("host", A), ("x-forwarded-for", B), ("x-forwarded-host", A)]
    assert json.loads(curl(mesh.b, f"http://[{A6}]/app/z").stdout)["path"] == "/base/z"
    # The host itself, on a port that only root may have: vouched for as nobody.
    assert mesh.da.status()["serve"]["ports"] == [{"port": 80, "kind": "http", "problem": None}]
    mine = dict(json.loads(curl(mesh.a, f"http://{A}/").stdout)["headers"])
    assert mine["X-Forwarded-For"] == A and "Tailscale-User-Login" not in mine
    # By the name, and no other; what leads out of the root, and what is of one connection alone.
    assert code(mesh.b, f"http://{A}/", "-H", "Host: a") == "200"
    assert code(mesh.b, f"http://{A}/", "-H", "Host: evil.example") == "404"
    assert code(mesh.b, f"http://{A}/../x", "--path-as-is") == "400"
    assert "x-hop" not in curl(mesh.b, f"http://{A}/", "-i").stdout.lower()
    # A body of a length and one without, HEAD, several requests of one connection.
    body = lab.dir / "body"
    body.write_bytes(bytes(3 << 20))
    assert json.loads(curl(mesh.b, f"http://{A}/", "-T", body).stdout)["body"] == 3 << 20
    assert json.loads(curl(mesh.b, f"http://{A}/", "-T", body, "-H", "Transfer-Encoding: chunked")
                      .stdout)["body"] == 3 << 20
    head = curl(mesh.b, f"http://{A}/", "-I").stdout.lower()
    assert "200 ok" in head and "content-length: " in head
    assert curl(mesh.b, f"http://{A}/[1-5]", "-o", "/dev/null", "-w",
                "%{http_code} %{num_connects}\n").stdout.split() == \
        "200 1 200 0 200 0 200 0 200 0".split()
    # What comes is passed on as it comes; and 64 MiB, which nobody keeps.
    began = curl(mesh.b, f"http://{A}/slow", "-N", "-m", "1", check=False)
    assert began.returncode == 28 and began.stdout == "part0"
    assert curl(mesh.b, f"http://{A}/big", "-o", "/dev/null", "-w", "%{size_download}"
                ).stdout == str(64 << 20)
    wait_for("nothing is left", lambda: mesh.da.status()["serve"]["connections"] == 0)


def certificate(lab):
    """Of this node by its address, signed by itself."""
    cert, key = lab.dir / "cert.pem", lab.dir / "key.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "2", "-subj", "/CN=a", "-addext", f"subjectAltName=IP:{A},DNS:a",
        "-keyout", key, "-out", cert)
    return cert, key


def test_https_and_http2(lab):
    cert, key = certificate(lab)
    tls = f"  tls: {{cert: {cert}, key: {key}}}\n"
    mesh = Mesh(lab, listen=serve("  https: {443: {/: 3000}}\n" + tls))
    backend(mesh.a, "http", "127.0.0.1", 3000)
    trust = ("--cacert", cert)
    for version, number in (("--http1.1", "1.1"), ("--http2", "2")):
        said = curl(mesh.b, f"https://{A}/x", version, *trust, "-w", "\n%{http_version}").stdout
        told, _, spoken = said.rpartition("\n")
        fields = dict(json.loads(told)["headers"])
        assert spoken == number and fields["X-Forwarded-Proto"] == "https"
        assert fields["X-Forwarded-For"] == B and fields["Host"] == A
        body = lab.dir / "body"
        body.write_bytes(bytes(3 << 20))
        assert json.loads(curl(mesh.b, f"https://{A}/", version, *trust, "-T", body)
                          .stdout)["body"] == 3 << 20
        assert curl(mesh.b, f"https://{A}/big", version, *trust, "-o", "/dev/null", "-w",
                    "%{size_download}").stdout == str(64 << 20)
        assert code(mesh.b, f"https://{A}/", version, *trust, "-H", "Host: evil") == "404"
        assert code(mesh.b, f"https://{A}/", version, *trust, "-I") == "200"
    # Without TLS nobody is answered; by a command beside it.
    assert curl(mesh.b, f"http://{A}:443/", check=False).returncode != 0
    mesh.da.cli("serve", "--bg", "--set-path=/hi", "text:hello")
    assert curl(mesh.b, f"https://{A}/hi", *trust).stdout == "hello"
    assert "https://a (tailnet only)\n" in mesh.da.cli("serve", "status").stdout
    wait_for("nothing is left", lambda: mesh.da.status()["serve"]["connections"] == 0)
    # The certificate is what HTTPS stands on.
    mesh.da.write(mesh.da.config.read_text().replace(tls, ""))
    refused = mesh.da.cli("reload", check=False)
    assert refused.returncode != 0 and "certificate" in refused.stdout + refused.stderr


def test_websocket_goes_through(lab):
    mesh = Mesh(lab, listen=serve("  http: {80: {/: 3001}}\n"))
    backend(mesh.a, "ws", 3001)
    assert "echoed" in mesh.b.run(sys.executable, ECHO, "wsask", f"ws://{A}/chat", "word").stdout
    wait_for("nothing is left", lambda: mesh.da.status()["serve"]["connections"] == 0)


def test_tcp_and_the_proxy_protocol(lab):
    mesh = Mesh(lab, listen=serve("  tcp: {5432: 5433, 5001: {to: 5433, proxy-protocol: 1},\n"
                                  "        5002: {to: 5433, proxy-protocol: 2}, 5003: 9}\n"))
    backend(mesh.a, "tcp", 5433)
    assert raw(mesh.b, 5432, "hello") == "hello"
    big = "x" * (4 << 20)
    assert raw(mesh.b, 5432, big) == big
    first, _, rest = raw(mesh.b, 5001, "hello").partition("\r\n")
    assert first.startswith(f"PROXY TCP4 {B} {A} ") and first.endswith(" 5433") and rest == "hello"
    two = raw(mesh.b, 5002, "hello").encode("latin-1")
    assert two[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" and two[-5:] == b"hello", two
    assert two[16:24] == bytes([100, 64, 0, 2, 100, 64, 0, 1]), two
    assert raw(mesh.b, 5003, "") == ""
    wait_for("nothing is left", lambda: mesh.da.status()["serve"]["connections"] == 0)


def test_files_folders_text_redirect_unix(lab):
    root = lab.dir / "docs"
    (root / "sub").mkdir(parents=True)
    (root / "site").mkdir()
    root.chmod(0o755)
    (root / "a b.txt").write_text("0123456789")
    (root / "<i>.html").write_text("page")
    (root / "site/index.html").write_text("the index")
    (lab.dir / "secret").write_text("secret")
    (root / "link").symlink_to(lab.dir / "secret")
    (root / "up").symlink_to("..")
    app = lab.dir / "app.sock"
    mesh = Mesh(lab, listen=serve(
        f"  http:\n    80:\n      /docs/: {{path: {root}/}}\n"
        f"      /one: {{path: '{root}/a b.txt'}}\n"
        f"      /any: {{path: {root}}}\n"
        "      /hi: {text: hello}\n      /old: {redirect: '301:http://x${REQUEST_URI}'}\n"
        f"      /app: {{unix: {app}}}\n      /own: {{unix: {lab.dir}/a/warrend.sock}}\n"))
    at = f"http://{A}"
    page = curl(mesh.b, f"{at}/docs/").stdout
    assert '<a href="./a%20b.txt">a b.txt</a>' in page and '<a href="./sub/">sub/</a>' in page
    assert "&#60;i&#62;.html" in page and "link" not in page
    for where in ("docs/a%20b.txt", "one", "any/a%20b.txt"):
        assert curl(mesh.b, f"{at}/{where}").stdout == "0123456789"
    assert curl(mesh.b, f"{at}/docs/site/").stdout == "the index"
    assert curl(mesh.b, f"{at}/docs/site", "-w", "%{redirect_url}").stdout == f"{at}/docs/site/"
    assert curl(mesh.b, f"{at}/any", "-w", "%{redirect_url}").stdout == f"{at}/any/"
    # Ranges, and what has not changed.
    for span, want in (("2-4", "234"), ("-3", "789"), ("7-", "789")):
        assert curl(mesh.b, f"{at}/one", "-r", span).stdout == want
    assert code(mesh.b, f"{at}/one", "-r", "2-4") == "206"
    assert code(mesh.b, f"{at}/one", "-r", "20-") == "416"
    assert code(mesh.b, f"{at}/one", "-z", lab.dir / "docs/a b.txt") == "304"
    head = curl(mesh.b, f"{at}/one", "-I").stdout.lower()
    assert "content-length: 10" in head and "text/plain" in head
    assert code(mesh.b, f"{at}/one", "-X", "POST") == "405"
    # Nothing leads out.
    for where in ("docs/link", "docs/up/secret", "docs/%2e%2e/secret", "docs/..%2fsecret",
                  "one/x", "docs/none", "docs/a%20b.txt/", "docs/%00", "none"):
        assert code(mesh.b, f"{at}/{where}", "--path-as-is") in ("400", "403", "404"), where
    assert curl(mesh.b, f"{at}/hi").stdout == "hello"
    assert curl(mesh.b, f"{at}/old/x?y", "-w", "%{http_code} %{redirect_url}"
                ).stdout == "301 http://x/old/x?y"
    assert code(mesh.b, f"{at}/app/x") == "502"
    backend(mesh.a, "unix", app)
    said = json.loads(curl(mesh.b, f"{at}/app/x").stdout)
    assert said["path"] == "/x" and ["Host", "localhost"] in said["headers"]
    # Whoever spoke to that would be root there.
    assert code(mesh.b, f"{at}/own/") == "502"
    assert "the daemon's own socket" in mesh.da.log()


def nginx(host, *listen):
    """The real one, in front of a page of its own."""
    program = unpacked("nginx") / "usr/sbin/nginx"
    folder = host.lab.dir / f"{host.name}-nginx"
    folder.mkdir()
    servers = "".join(f"server {{ listen {at}; location / {{ return 200 'nginx "
                      "$http_x_forwarded_for"
                      f" $http_tailscale_user_login at {at}\\n'; }} }}\n" for at in listen)
    temp = "".join(f"{kind}_temp_path {folder}/{kind};\n"
                   for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "conf").write_text(f"daemon off; user root; pid {folder}/pid; error_log stderr;\n"
                                 f"events {{}}\nhttp {{ access_log off;\n{temp}{servers} }}\n")
    proc = host.start(program, "-p", folder, "-c", folder / "conf", private=False,
                      log=host.lab.dir / f"{host.name}-nginx.log")
    port = listen[0].rpartition(":")[2]
    wait_for("nginx listens", lambda: curl(host, f"http://127.0.0.1:{port}/", check=False)
             .returncode == 0)
    return proc


def test_beside_nginx_and_behind_a_wall(lab):
    def start(host, *argv, **kw):
        nginx(host, "127.0.0.1:3000", "0.0.0.0:80", "0.0.0.0:443", "[::]:80")
        return Daemon(host, *argv, **kw)

    mesh = Mesh(lab, router=ALONE, start=start, listen=serve(
        "  http: {80: {/: 3000}, 8080: {/: 3000}}\n  tcp: {443: 3000}\n"))
    mesh.a.run("nft", "-f", "-", input=WALL)
    for address in (A, f"[{A6}]"):
        assert curl(mesh.b, f"http://{address}/", "-H", FORGED[0]).stdout.split() == [
            "nginx", B if address == A else "fd7a:115c:a1e0::2", "at", "127.0.0.1:3000"]
    assert curl(mesh.b, f"http://{A}:443/").stdout == "nginx   at 127.0.0.1:3000\n"
    # The host itself where nobody else is, and where somebody is, who is named.
    assert curl(mesh.a, f"http://{A}:8080/").stdout == f"nginx {A}  at 127.0.0.1:3000\n"
    wait_for("it is told", lambda: "port 80: " in mesh.da.cli("serve", "status").stdout)
    assert "port 80: " in mesh.da.cli("doctor", "serve", check=False).stdout


def test_limits(lab):
    mesh = Mesh(lab, listen=serve("  http: {80: {/: {text: hello}}}\n  per-peer: 3\n"))
    idle = [mesh.b.start(sys.executable, "-c",
                         "import socket, sys; socket.create_connection(sys.argv[1:]).recv(1)",
                         A, 80, private=False, log=lab.dir / f"idle-{i}.log") for i in range(5)]
    wait_for("two of five are closed", lambda: sum(p.alive() for p in idle) == 3)
    assert curl(mesh.b, f"http://{A}/", check=False).returncode != 0
    for proc in idle:
        proc.kill()
    wait_for("they are gone", lambda: mesh.da.status()["serve"]["connections"] == 0)
    # A flood of fields, one that never ends, two lengths, a head that comes a byte at a time.
    many = "".join(f"a{i}: b\r\n" for i in range(200))
    assert " 431 " in raw(mesh.b, 80, f"GET / HTTP/1.1\r\nHost: {A}\r\n{many}\r\n")
    long = "b" * (70 << 10)
    assert " 431 " in raw(mesh.b, 80, f"GET / HTTP/1.1\r\nHost: {A}\r\na: {long}\r\n\r\n")
    assert " 400 " in raw(mesh.b, 80, f"POST / HTTP/1.1\r\nHost: {A}\r\nContent-Length: 1\r\n"
                                      "Transfer-Encoding: chunked\r\n\r\n")
    slow = mesh.b.start(sys.executable, "-c", (
        "import socket, sys, time\n"
        "s = socket.create_connection((sys.argv[1], 80))\n"
        "s.sendall(b'GET / HTTP/1.1\\r\\n')\n"
        "s.settimeout(0.2)\n"
        "while True:\n"
        "    try:\n"
        "        if not s.recv(100): break\n"
        "    except TimeoutError: s.sendall(b'a')\n"
        "    except ConnectionError: break\n"), A, private=False, log=lab.dir / "slow.log")
    wait_for("who trickles is cut off", lambda: not slow.alive(), 40)


def test_commands(lab):
    mesh = Mesh(lab, listen="\nsvcnet: {}\n")
    a, cli = mesh.a, mesh.da.cli
    backend(a, "http", "127.0.0.1", 3000)
    assert cli("serve", "status").stdout == "No serve config\n"
    refused = cli("serve", "3000", check=False)
    assert refused.returncode != 0 and "--http=80" in refused.stderr
    # As long as it runs.
    front = a.start(BINDIR / "warren", "--socket", mesh.da.socket, "serve", "--http=80", "3000",
                    private=False, log=lab.dir / "front.log")
    wait_for("it serves", lambda: "Press Ctrl+C to exit." in front.output())
    wait_for("b gets there", lambda: curl(mesh.b, f"http://{A}/x", check=False).returncode == 0)
    assert "Foreground" in mesh.da.json("serve", "status")
    front.kill(signal.SIGTERM)
    wait_for("it is gone", lambda: not front.alive())
    wait_for("with it what it served", lambda: cli("serve", "status").stdout == "No serve config\n")
    assert curl(mesh.b, f"http://{A}/", "-m", "2", check=False).returncode != 0
    # After it has ended, and after a restart.
    page = lab.dir / "page.txt"
    page.write_text("a page")
    cli("serve", "--bg", "--http=80", "3000")
    cli("serve", "--bg", "--http=80", "--set-path=/page", page)
    cli("serve", "--bg", "--tcp=5432", "--proxy-protocol=1", "tcp://localhost:3000")
    wait_for("b gets there", lambda: curl(mesh.b, f"http://{A}/x", check=False).returncode == 0)
    assert curl(mesh.b, f"http://{A}/page").stdout == "a page"
    assert mesh.da.json("serve", "status") == {
        "TCP": {"80": {"HTTP": True}, "5432": {"TCPForward": "localhost:3000", "ProxyProtocol": 1}},
        "Web": {"a:80": {"Handlers": {"/": {"Proxy": "http://127.0.0.1:3000"},
                                      "/page": {"Path": str(page)}}}}}
    said = cli("serve", "status").stdout
    assert "http://a (tailnet only)\n|-- / proxy http://127.0.0.1:3000\n" in said, said
    assert "|-- tcp://a:5432 (tailnet only)\n|--> tcp://localhost:3000\n" in said, said
    mesh.da.stop()
    mesh.da.start()
    wait_for("b gets there", lambda: curl(mesh.b, f"http://{A}/page", check=False)
             .stdout == "a page")
    # Another kind on the same port; another thing at the same path; one path, one port, all.
    assert "already serving" in cli("serve", "--bg", "--tcp=80", "1", check=False).stderr
    cli("serve", "--bg", "--http=80", "--set-path=/page", "text:words")
    assert curl(mesh.b, f"http://{A}/page").stdout == "words"
    cli("serve", "--http=80", "--set-path=/page", "off")
    assert json.loads(curl(mesh.b, f"http://{A}/page").stdout)["path"] == "/page"
    cli("serve", "--tcp=5432", "off")
    assert "5432" not in cli("serve", "status").stdout
    assert "does not exist" in cli("serve", "--tcp=5432", "off", check=False).stderr
    cli("serve", "reset")
    assert cli("serve", "status").stdout == "No serve config\n"


def test_what_a_file_sets_is_the_files(lab):
    mesh = Mesh(lab, listen=serve("  http: {80: {/: {text: file}}}\n"))
    cli = mesh.da.cli
    assert curl(mesh.b, f"http://{A}/").stdout == "file"
    refused = cli("serve", "--http=80", "off", check=False)
    assert refused.returncode != 0 and "warren.yaml" in refused.stderr, refused.stderr
    assert cli("serve", "--bg", "--http=80", "text:mine", check=False).returncode != 0
    cli("serve", "--bg", "--http=80", "--set-path=/mine", "text:mine")
    assert curl(mesh.b, f"http://{A}/mine").stdout == "mine"
    cli("serve", "reset")
    assert curl(mesh.b, f"http://{A}/mine").stdout == "file"
    # A reload takes a path away and leaves what is open.
    mesh.da.write(mesh.da.config.read_text().replace("text: file", "text: other"))
    cli("reload")
    assert curl(mesh.b, f"http://{A}/").stdout == "other"

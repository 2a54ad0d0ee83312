"""What our node serves, fetched by stock ones; the backend is told who asks."""

import json
import pathlib
import re
import sys

from interop import OwnTailnet, Tailscaled, Warren, wait_for

ECHO = pathlib.Path(__file__).parents[1] / "lab/webecho.py"
# Stock nodes reach port 80 and no other.
POLICY = {"tagOwners": {"tag:ci": ["alice@"]},
          "grants": [{"src": ["*"], "dst": ["*"], "ip": ["tcp:80"]}]}
SERVE = "serve: {http: {80: {/: 3000}, 81: {/: 3000}}}\n"


def curl(node, url, *options, check=True):
    return node.host.run("curl", "-sS", "-m", "10", *options, url, check=check)


def test_stock_nodes_fetch_and_are_named(lab):
    own = OwnTailnet(lab, POLICY)
    own.control.user("alice")
    key = own.control.auth_key("--user", "alice", "--reusable")
    tagged = own.control.auth_key("--user", "alice", "--reusable", "--tag", "tag:ci")
    warren = Warren(own, auth_key=key, joined=False, extra=SERVE)
    stock = Tailscaled(own, up=(f"--auth-key={key}",))
    robot = Tailscaled(own, name="robot", up=(f"--auth-key={tagged}",))
    wait_for("it runs", lambda: warren.control()["state"] == "Running")
    echo = warren.host.start(sys.executable, ECHO, "http", "127.0.0.1", "3000", private=False,
                             log=lab.dir / "echo.log")
    wait_for("the backend listens", lambda: "ready" in echo.output())
    ip4 = wait_for("the stock daemon knows ours", lambda: (
        stock.peer("warren") or {}).get("TailscaleIPs"))[0]
    wait_for("it serves", lambda: curl(stock, f"http://{ip4}/", check=False).returncode == 0)

    def told(node):
        said = json.loads(curl(node, f"http://{ip4}/x", "-H", "Tailscale-User-Login: root@evil",
                               "-H", "X-Forwarded-For: 127.0.0.1").stdout)
        return {k: v for k, v in said["headers"] if k.startswith(("Tailscale", "X-Forwarded"))}

    me = told(stock)
    assert me["Tailscale-User-Login"].startswith("alice"), me
    assert me["X-Forwarded-For"] == stock.status()["TailscaleIPs"][0], me
    assert me["Tailscale-Headers-Info"] == "https://tailscale.com/s/serve-headers", me
    # Of a tagged node no user is told.
    wait_for("the robot is let in", lambda: curl(robot, f"http://{ip4}/", check=False)
             .returncode == 0)
    assert set(told(robot)) == {"X-Forwarded-For", "X-Forwarded-Host"}
    # The policy has a say in who gets there.
    assert curl(stock, f"http://{ip4}:81/", "-m", "3", check=False).returncode != 0


def test_the_readme_word_by_word(lab, tmp_path):
    """README, section "Share a port", fetched by a stock node after each command."""
    text = (pathlib.Path(__file__).parents[2] / "README.md").read_text()
    section = text.partition("\n## Share a port\n")[2].partition("\n## ")[0]
    line, *commands = (found.partition(" # ")[0].strip()
                       for found in re.findall(r"^    (\S.*)$", section, re.M))
    web, docs, tcp, status, reset = (command.split()[1:] for command in commands)
    own = OwnTailnet(lab, {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]})
    own.control.user("alice")
    key = own.control.auth_key("--user", "alice", "--reusable")
    warren = Warren(own, auth_key=key, joined=False, extra=line + "\n")
    stock = Tailscaled(own, up=(f"--auth-key={key}",))
    ip4 = wait_for("stock knows ours", lambda: (stock.peer("warren") or {})
                   .get("TailscaleIPs"))[0]
    for kind, *where in ("http", "127.0.0.1", web[-1]), ("tcp", tcp[-1].rpartition(":")[2]):
        echo = warren.host.start(sys.executable, ECHO, kind, *where, private=False,
                                 log=lab.dir / f"echo-{kind}.log")
        wait_for("the backend listens", lambda: "ready" in echo.output())

    def served(url):
        return curl(stock, url, "-f", check=False).returncode == 0

    # The folder of the README is no folder of this machine.
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "hello.txt").write_text("from the folder\n")
    warren.cli(*web)
    wait_for("the backend is served", lambda: served(f"http://{ip4}/"))
    warren.cli(*docs[:-1], f"{folder}/")
    wait_for("the folder is served", lambda: served(f"http://{ip4}/docs/hello.txt"))
    assert curl(stock, f"http://{ip4}/docs/hello.txt").stdout == "from the folder\n"
    warren.cli(*tcp)
    wait_for("the port is served", lambda: stock.host.run(
        sys.executable, "-c", f"import socket; s=socket.create_connection(('{ip4}', 5432), 3);"
        "s.sendall(b'over'); s.shutdown(1); assert s.recv(9) == b'over'",
        check=False).returncode == 0)
    said = warren.cli(*status).stdout
    assert "3000" in said and str(folder) in said and "5432" in said, said
    warren.cli(*reset)
    wait_for("nothing is served", lambda: not served(f"http://{ip4}/"))

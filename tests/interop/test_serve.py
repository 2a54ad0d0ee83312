"""What our node serves, fetched by stock ones; the backend is told who asks."""

import json
import pathlib
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

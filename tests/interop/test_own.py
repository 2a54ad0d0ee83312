"""Stock nodes and our daemon in a tailnet whose coordinator is ours."""

import json
import signal
import time

import pytest

from interop import (BIN, SINK, OwnTailnet, Tailscaled, Tsnet, Warren, kernel_reaches,
                     wait_for)

ALL = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}


@pytest.fixture
def own(lab):
    """An OwnTailnet in which everybody reaches everybody."""
    one = OwnTailnet(lab, ALL)
    one.control.user("alice")
    yield one
    assert one.control.proc.alive(), one.control.log()
    assert "assertion" not in one.control.log()


def key(own, *options):
    return own.control.auth_key("--user", "alice", "--reusable", *options)


def test_tsnet_nodes_join_and_ping(own):
    auth_key = key(own)
    one, two = (Tsnet(own, name, auth_key=auth_key) for name in ("one", "two"))
    one.pings(two.ip4)
    two.pings(one.ip6)
    one.sends(two.ip4, SINK, 4)
    names = {n["name"]: n for n in own.control.nodes()}
    assert set(names) == {"one", "two"}
    assert all(n["online"] for n in names.values()), names


def test_stock_daemon_joins(own):
    auth_key = key(own)
    stock = Tailscaled(own, up=(f"--auth-key={auth_key}",))
    tsnet = Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    tsnet.pings(stock.ip4)
    peer = wait_for("the stock daemon sees its peer", lambda: stock.peer("tsnet"))
    assert peer["DNSName"] == f"tsnet.{own.control.DOMAIN}."
    assert peer["Online"]
    # What is not offered is said, with what works instead.
    assert "Serve over HTTPS is not offered" in stock.cli("serve", "--bg", "8000").stdout
    assert "Funnel is not offered" in stock.cli("funnel", "--bg", "8000").stdout
    token = stock.host.run("env", "TAILSCALE_USE_WIP_CODE=1", f"{BIN}/tailscale",
                           f"--socket={stock.socket}", "id-token", "anybody", check=False)
    assert "issues no identity tokens" in token.stdout + token.stderr
    stock.cli("serve", "--bg", "--http=80", "8000")
    wait_for("it serves without TLS", lambda: tsnet.reaches(stock.ip4, 80))


def test_our_daemon_joins(own):
    auth_key = key(own)
    warren = Warren(own, auth_key=auth_key, joined=False)
    tsnet = Tsnet(own, auth_key=auth_key)
    wait_for("it runs", lambda: warren.control()["state"] == "Running")
    node = wait_for("the coordinator knows it", lambda: own.control.node("warren"))
    warren.pings(tsnet.ip4)
    warren.pings(tsnet.ip6)
    tsnet.pings(node["addresses"][0])
    tsnet.pings(node["addresses"][1])


def log_in(own, stock, login="alice"):
    """`tailscale up` of somebody whom the operator lets in."""
    up = stock.host.start(f"{BIN}/tailscale", f"--socket={stock.socket}", "up",
                          f"--login-server={own.control.url}", f"--hostname={stock.name}",
                          "--timeout=30s", private=False)
    url = wait_for("a link to log in with", lambda: stock.status()["AuthURL"])
    page = own.switch.run("curl", "-sS", url).stdout
    code = url.rpartition("/")[2]
    assert f"warren node approve {code}" in page
    own.control.cli("node", "approve", code, "--user", login)
    assert up.popen.wait(30) == 0, up.output()
    stock.ip4, stock.ip6 = stock.cli("ip").stdout.split()


def test_login_by_link_logout_and_again(own):
    stock, tsnet = Tailscaled(own, up=None), Tsnet(own, auth_key=key(own))
    log_in(own, stock)
    stock.pings(tsnet.ip4)
    before = own.control.node("stock")
    stock.cli("logout")
    wait_for("it is logged out", lambda: stock.status()["BackendState"] == "NeedsLogin")
    wait_for("the coordinator knows", lambda: own.control.node("stock")["expired"])
    log_in(own, stock)
    after = own.control.node("stock")
    assert (after["id"], after["addresses"]) == (before["id"], before["addresses"])
    assert after["node_key"] != before["node_key"]
    stock.pings(tsnet.ip4)
    tsnet.pings(stock.ip4)


def test_policy_decides_who_sees_whom(own):
    auth_key = key(own)
    stock, tsnet = Tailscaled(own, up=(f"--auth-key={auth_key}",)), Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    own.control.set_policy({"grants": []})
    wait_for("they do not see each other", lambda: stock.peer("tsnet") is None)
    assert not tsnet.reaches(stock.ip4, SINK, seconds=1)
    own.control.set_policy({"grants": [{"src": ["autogroup:member"], "dst": ["autogroup:member"],
                                        "ip": [f"tcp:{SINK}"]}]})
    wait_for("they see each other", lambda: stock.peer("tsnet"))
    wait_for("a port is open", lambda: kernel_reaches(stock.host, tsnet.ip4, SINK))
    assert not kernel_reaches(stock.host, tsnet.ip4, SINK + 1, seconds=1)
    own.control.set_policy({"grants": [{"src": ["nobody"], "dst": ["*"], "ip": ["*"]}]})
    wait_for("it is refused", lambda: "stays in force" in own.control.log())
    own.control.set_policy({"grants": [], "tests": [{"src": "alice@", "accept": ["alice@:22"]}]})
    wait_for("its test fails", lambda: "does not pass" in own.control.log())
    assert kernel_reaches(stock.host, tsnet.ip4, SINK)
    # A start has no other one to keep.
    own.control.stop()
    own.control.start()
    wait_for("it is in force", lambda: "in force all the same" in own.control.log())
    assert own.control.node("tsnet")


def test_deleted_and_expired_nodes(own):
    auth_key = key(own)
    stock, tsnet = Tailscaled(own, up=(f"--auth-key={auth_key}",)), Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    own.control.cli("node", "expire", "stock", "--yes")
    wait_for("it has to log in", lambda: stock.status()["BackendState"] == "NeedsLogin")
    stock.up(f"--auth-key={auth_key}", "--force-reauth")
    stock.pings(tsnet.ip4)
    own.control.cli("node", "delete", "stock", "--yes")
    wait_for("it has to log in", lambda: stock.status()["BackendState"] == "NeedsLogin")
    assert own.control.node("stock") is None
    stock.up(f"--auth-key={auth_key}", "--force-reauth")
    stock.pings(tsnet.ip4)


def test_only_pinned_machines_bring_new_keys(own):
    auth_key = key(own)
    stock = Tailscaled(own, up=(f"--auth-key={auth_key}",))
    own.control.cli("user", "pin", "alice")
    own.control.cli("node", "pin", "stock")
    before = own.control.node("stock")
    other = Tailscaled(own, "other", up=None)
    up = other.start_up(f"--auth-key={auth_key}", timeout="8s")
    wait_for("it is told why",
             lambda: "may join for alice; ask the operator to pin it" in up.output())
    up.popen.wait(30)
    assert own.control.node("other") is None
    stock.cli("logout")
    wait_for("the coordinator knows", lambda: own.control.node("stock")["expired"])
    stock.up(f"--auth-key={auth_key}")
    after = own.control.node("stock")
    assert after["id"] == before["id"] and after["node_key"] != before["node_key"]
    own.control.cli("user", "pin", "alice", "--off")
    other.up(f"--auth-key={auth_key}")
    other.pings(stock.ip4)


def test_coordinator_is_killed(own):
    auth_key = key(own)
    stock, tsnet = Tailscaled(own, up=(f"--auth-key={auth_key}",)), Tsnet(own, auth_key=auth_key)
    stock.pings(tsnet.ip4)
    before = {n["id"]: n["addresses"] for n in own.control.nodes()}
    own.control.proc.kill()
    own.control.proc.popen.wait(5)
    own.control.start()
    assert {n["id"]: n["addresses"] for n in own.control.nodes()} == before
    wait_for("they are back", lambda: all(n["online"] for n in own.control.nodes()), 60)
    third = Tsnet(own, "third", auth_key=auth_key)
    stock.pings(third.ip4)


def route_policy(*extra):
    return {"tagOwners": {"tag:gw": []}, "autoApprovers": {"routes": {"10.77.0.0/16": ["tag:gw"]}},
            "grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}, *extra]}


def test_routes_of_a_tagged_gateway(own):
    own.control.set_policy(route_policy())
    wait_for("it is in force", lambda: "new policy is in force" in own.control.log())
    gateway = Tailscaled(own, "gateway", up=(
        f"--auth-key={own.control.auth_key('--tag', 'tag:gw')}",
        "--advertise-routes=10.77.1.0/24,10.88.0.0/24", "--advertise-exit-node"))
    gateway.host.sysctl("net.ipv4.ip_forward", 1)
    gateway.host.ip("addr", "add", "10.77.1.1/32", "dev", "lo")
    gateway.host.ip("addr", "add", "10.88.0.1/32", "dev", "lo")
    tsnet = Tsnet(own, auth_key=key(own))

    def seen(field):
        """What a tsnet node knows of the gateway."""
        return next(p for p in tsnet.ask("status")["Peer"].values()
                    if p["HostName"] == "gateway").get(field)

    stock = Tailscaled(own, up=(f"--auth-key={key(own)}", "--accept-routes"))
    node = own.control.node("gateway")
    assert (node["tags"], node["expiry"]) == (["tag:gw"], None)
    assert node["approved"] == ["10.77.1.0/24"]
    stock.pings("10.77.1.1")
    assert stock.host.ping("10.88.0.1", wait=1, check=False).returncode != 0
    assert seen("PrimaryRoutes") == ["10.77.1.0/24"] and not seen("ExitNodeOption")
    own.control.cli("route", "approve", "gateway", "10.88.0.0/24")
    stock.pings("10.88.0.1")
    wait_for("tsnet sees both", lambda: seen("PrimaryRoutes") == ["10.77.1.0/24", "10.88.0.0/24"])
    own.control.cli("route", "approve", "gateway", "exit")
    wait_for("tsnet sees an exit node", lambda: seen("ExitNodeOption"))
    assert "0.0.0.0/0" in seen("AllowedIPs") and "::/0" in seen("AllowedIPs")
    own.control.cli("route", "revoke", "gateway", "exit", "--yes")
    wait_for("tsnet sees none", lambda: not seen("ExitNodeOption"))
    own.control.cli("route", "revoke", "gateway", "10.77.1.0/24", "--yes")
    wait_for("it is gone", lambda: "10.77.1.0/24" not in stock.peer("gateway")["AllowedIPs"])
    assert stock.peer("gateway")["PrimaryRoutes"] == ["10.88.0.0/24"]


def two_gateways(own):
    """Both lead to 10.77.1.1, and a node that has reached it."""
    gateways = []
    for name in ("gw1", "gw2"):
        gateways.append(Tailscaled(own, name, up=(
            f"--auth-key={own.control.auth_key('--tag', 'tag:gw')}",
            "--advertise-routes=10.77.1.0/24")))
        gateways[-1].host.sysctl("net.ipv4.ip_forward", 1)
        gateways[-1].host.ip("addr", "add", "10.77.1.1/32", "dev", "lo")
    stock = Tailscaled(own, up=(f"--auth-key={key(own)}", "--accept-routes"))
    stock.pings("10.77.1.1")
    return gateways, stock


def test_a_second_gateway_takes_over(own):
    own.control.set_policy(route_policy())
    wait_for("it is in force", lambda: "new policy is in force" in own.control.log())
    gateways, stock = two_gateways(own)
    assert own.control.node("gw1")["primary"] == ["10.77.1.0/24"]
    gateways[0].cli("down")
    wait_for("the other one is elected",
             lambda: own.control.node("gw2")["primary"] == ["10.77.1.0/24"], 30)
    stock.pings("10.77.1.1")
    gateways[0].cli("up")
    wait_for("it is back", lambda: own.control.node("gw1")["online"])
    assert own.control.node("gw2")["primary"] == ["10.77.1.0/24"]
    stock.pings("10.77.1.1")


def test_a_gateway_that_only_looks_alive(lab):
    own = OwnTailnet(lab, route_policy(), "\n  probe-interval: 4s")
    own.control.user("alice")
    gateways, stock = two_gateways(own)

    def primary(name):
        return own.control.node(name)["primary"] == ["10.77.1.0/24"]

    assert primary("gw1")
    time.sleep(14)      # streams that are older than two cycles are asked
    assert primary("gw1")
    gateways[0].proc.kill(signal.SIGSTOP)
    wait_for("the other one serves", lambda: primary("gw2"), 15)
    assert own.control.node("gw1")["online"]
    stock.pings("10.77.1.1")
    gateways[0].proc.kill(signal.SIGCONT)
    wait_for("it answers again", lambda: "gw1 answers again" in own.control.log())
    time.sleep(6)
    assert primary("gw2")
    gateways[1].proc.kill(signal.SIGSTOP)
    wait_for("the first one serves", lambda: primary("gw1"), 15)
    stock.pings("10.77.1.1")
    gateways[1].proc.kill(signal.SIGCONT)


def test_nodes_are_asked(own):
    auth_key = key(own)
    stock, tsnet = Tailscaled(own, up=(f"--auth-key={auth_key}",)), Tsnet(own, auth_key=auth_key)
    ours = Warren(own, auth_key=auth_key, joined=False)
    wait_for("it runs", lambda: ours.control()["state"] == "Running")
    stock.pings(tsnet.ip4)
    for name in ("stock", "tsnet", "warren"):
        wait_for(f"{name} answers",
                 lambda name=name: own.control.json("node", "ping", name)["usec"])
    for kind in ("disco", "TSMP", "ICMP", "peerapi"):
        answer = own.control.json("node", "ping", "stock", "--from", "tsnet", "--kind", kind)
        assert kind == "peerapi" or answer["usec"] > 0, answer
    stock.proc.kill(signal.SIGSTOP)
    said = own.control.cli("node", "ping", "stock", check=False)
    assert said.returncode == 1 and "no answer" in said.stderr, said
    stock.proc.kill(signal.SIGCONT)


def test_ssh_is_held_until_somebody_approves(own):
    own.control.set_policy({**ALL, "ssh": [{
        "action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"],
        "users": ["root"], "checkPeriod": "1h"}]})
    wait_for("it is in force", lambda: "new policy is in force" in own.control.log())
    auth_key = key(own)
    near, far = (Tailscaled(own, name, up=(f"--auth-key={auth_key}", "--ssh"))
                 for name in ("near", "far"))
    near.pings(far.ip4)

    def ssh():
        return near.host.start("/usr/bin/ssh", "-o", "StrictHostKeyChecking=no", "-o",
                               "UserKnownHostsFile=/dev/null", f"root@{far.ip4}", "echo reached",
                               private=False)

    def code():
        waiting = own.control.json("node", "pending")["ssh"]
        return waiting and waiting[0]["code"]

    first = ssh()
    one = wait_for("it is held", code)
    page = own.switch.run("curl", "-sS", f"{own.control.url}/auth/{one}").stdout
    for part in (f"warren node approve {one}", "<dd>near</dd>", "<dd>far</dd>", "<dd>root</dd>"):
        assert part in page
    own.control.cli("node", "reject", one)
    assert first.popen.wait(15) != 0, first.output()
    second = ssh()
    own.control.cli("node", "approve", wait_for("it is held", code))
    assert second.popen.wait(15) == 0, second.output()
    assert "reached" in second.output()
    third = ssh()       # within the hour nobody is asked
    assert third.popen.wait(15) == 0, third.output()
    rows = own.control.json("coordinator", "log")["log"]
    policies = [row for row in rows if row["action"] == "policy.set"]
    assert len(policies) == 2 and "sha256" in str(policies[1]["before"]), policies
    assert policies[0]["after"] == policies[1]["before"] != policies[1]["after"], policies
    said = [row["action"] for row in rows]
    assert said.count("ssh.approve") == said.count("ssh.refuse") == 1, said


def test_dns_settings_reach_a_stock_client(lab):
    records = lab.dir / "records.json"
    records.write_text(json.dumps([{"name": "wiki.corp.test", "type": "A", "value": "100.64.9.9"}]))
    own = OwnTailnet(lab, ALL, f"""
  dns:
    nameservers: [192.0.2.1]
    override-local: true
    split: {{corp.test: [192.0.2.1], other.test: ["192.0.2.1:5353"]}}
    search: [corp.test]
    extra-records-file: {records}""")
    own.control.user("alice")
    stock = Tailscaled(own, up=(f"--auth-key={key(own)}",))
    said = stock.cli("dns", "status", "--all").stdout
    for part in ("corp.test", "other.test", "192.0.2.1:5353", "wiki.corp.test", "100.64.9.9"):
        assert part in said, said

    def resolves(name, address):
        found = stock.cli("dns", "query", name, "a", check=False).stdout
        return address in found

    wait_for("a record of the file", lambda: resolves("wiki.corp.test.", "100.64.9.9"))
    wait_for("itself", lambda: resolves(f"stock.{own.control.DOMAIN}.", stock.ip4))
    fresh = records.with_suffix(".new")
    fresh.write_text(json.dumps([{"name": "docs.corp.test", "value": "100.64.8.8"}]))
    fresh.rename(records)
    wait_for("the client is told", lambda: "docs.corp.test" in
             stock.cli("dns", "status", "--all").stdout)
    assert resolves("docs.corp.test.", "100.64.8.8")
    records.write_text("[{}]")
    wait_for("it is refused", lambda: "stay in force" in own.control.log())
    assert resolves("docs.corp.test.", "100.64.8.8")


def test_ephemeral_nodes_and_names(own):
    options = ("--user", "alice", "--ephemeral", "--reusable")
    stock = Tailscaled(own, up=(f"--auth-key={key(own)}",))
    tsnet = Tsnet(own, auth_key=own.control.auth_key(*options))
    stock.pings(tsnet.ip4)
    own.control.cli("node", "rename", "tsnet", "printer")
    wait_for("it has another name",
             lambda: stock.peer("tsnet")["DNSName"] == f"printer.{own.control.DOMAIN}.")
    tsnet.ask("logout")
    wait_for("it is deleted", lambda: own.control.node("printer") is None)
    wait_for("nobody sees it", lambda: stock.peer("tsnet") is None)
    again = Tsnet(own, "again", auth_key=own.control.auth_key(*options))
    assert again.ip4 != tsnet.ip4       # an address rests for a while


def test_our_ephemeral_node_leaves(own):
    auth_key = own.control.auth_key("--user", "alice", "--ephemeral", "--reusable")
    warren = Warren(own, auth_key=auth_key, control="\n  ephemeral: true", joined=False)

    def runs():
        return warren.control()["state"] == "Running"

    wait_for("it runs", runs)
    wait_for("the coordinator knows it", lambda: own.control.node("warren"))
    warren.stop()
    wait_for("it is deleted at once", lambda: own.control.node("warren") is None)
    warren.start()
    wait_for("it runs again", runs)

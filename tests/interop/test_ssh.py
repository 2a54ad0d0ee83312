"""`warren ssh`: the system's ssh, with the host keys that the map has, to a stock node."""

import os
import stat

from interop import OwnTailnet, Tailscaled, Warren, run, wait_for
from lab import BINDIR

POLICY = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}],
          "ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"],
                   "users": ["root"]}]}


def host_keys(ours):
    return next((p.get("sshHostKeys") for p in (ours.json("status")["Peer"] or {}).values()
                 if p["HostName"] == "stock"), None)


def pair(lab):
    """Ours, and a stock node of the same user whose host keys it has been told."""
    own = OwnTailnet(lab, POLICY)
    own.control.user("alice")
    key = own.control.auth_key("--user", "alice", "--reusable")
    ours = Warren(own, auth_key=key, joined=False)
    stock = Tailscaled(own, up=(f"--auth-key={key}", "--ssh"))
    wait_for("the map has host keys", lambda: host_keys(ours))
    ours.pings(stock.ip4)
    return ours, stock


def test_a_session_on_a_stock_node(lab, tmp_path):
    ours, stock = pair(lab)
    home = tmp_path / "home"
    home.mkdir()
    known = home / "warren" / "ssh_known_hosts"
    env = {**os.environ, "XDG_CONFIG_HOME": str(home)}

    def ssh(*argv, **kw):
        return ours.host.run(BINDIR / "warren", "--socket", ours.socket, "ssh", *argv, env=env,
                             timeout=60, **kw)

    name = stock.status()["Self"]["DNSName"]
    address = ours.cli("ip", "-4").stdout.strip()
    for host in "stock", name, name.rstrip("."), stock.ip4, stock.ip6, "STOCK":
        assert ssh(f"root@{host}", "echo", "$SSH_CLIENT").stdout.split()[0] == address, host
    # Options of ssh's own stand behind the host too; its exit status is ours, and so is its input.
    assert ssh("root@stock", "-T", "-o", "LogLevel=ERROR", "--", "cat", input="over\n").stdout \
        == "over\n"
    assert ssh("root@stock", "exit 7", check=False).returncode == 7
    # Both are believed, by name and by address, and nothing else is kept.
    assert stat.S_IMODE(known.stat().st_mode) == 0o600
    assert set(known.read_text().splitlines()) == {
        f"{who} {key}" for who in (name, stock.ip4, stock.ip6) for key in host_keys(ours)}
    # What another says at that address is not believed, whatever the user's own files say.
    stock.cli("set", "--ssh=false")
    wait_for("it is no server", lambda: host_keys(ours) is None)
    said = ssh("-v", "root@stock", "true", check=False)
    assert said.returncode == 2 and "unknown option -v" in said.stderr
    said = ssh("root@stock", "true", check=False)
    assert said.returncode == 255, said
    assert "tells of no host keys: it runs no SSH server of this network" in said.stderr
    assert name not in known.read_text()
    # Who is no peer is ssh's affair, with the keys that the user knows, but unasked.
    believed = ssh("root@stock", "-G").stdout, ssh("nobody.invalid", "-G").stdout
    assert f"userknownhostsfile {known}\n" in believed[0], believed
    assert "/.ssh/known_hosts" in believed[1] and str(known) not in believed[1]
    assert all("stricthostkeychecking true\n" in text for text in believed)
    said = ssh("root@nobody.invalid", "true", check=False)
    assert said.returncode == 255 and "nobody.invalid" in said.stderr, said
    assert "is no host" in ssh("--", "-oProxyCommand=touch x", check=False).stderr


def test_a_wrong_host_key_ends_it(lab, tmp_path):
    """An SSH server with another key than the map has for that node."""
    ours, _ = pair(lab)
    # As after the node's keys were replaced behind the map's back: others where ssh reads them.
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other")
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ssh").write_text(f"""#!/bin/sh
sed -i 's|^\\([^ ]*\\) .*|\\1 {other}|' {tmp_path}/warren/ssh_known_hosts
exec /usr/bin/ssh "$@"
""")
    (tools / "ssh").chmod(0o755)
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "PATH": f"{tools}:{os.environ['PATH']}"}
    said = ours.host.run(BINDIR / "warren", "--socket", ours.socket, "ssh", "root@stock", "true",
                         env=env, timeout=60, check=False)
    assert said.returncode == 255 and "Host key verification failed" in said.stderr, said

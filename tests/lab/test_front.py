"""front with a real authority for tests (pebble) on another host: orders, renewal, restart."""

import os
import signal

import pytest
from lab import Daemon, need, wait_for
from pebble import AUTHORITY, GATEWAY, Pebble


@pytest.fixture
def authority(lab, pair, request):
    """@pytest.mark.accounts({name: key}): nobody else may order."""
    missing = need("pebble", "pebble-challtestsrv", "openssl", "curl")
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    mark = request.node.get_closest_marker("accounts")
    return Pebble(lab, pair[1], *(mark.args if mark else ()))


def yaml(authority, names, rest="", acme=""):
    return (f"front: {{tls: acme, names: {names}, {rest}acme: {{contact: ops@example.com, {acme}\n"
            f"  directory: 'https://{AUTHORITY}:14000/dir', ca-file: {authority.ca}}}}}\n")


def certificates(daemon):
    return {c["name"]: c["sha256"] for c in daemon.status()["front"]["certificates"]}


def ordered(daemon, name):
    return wait_for(f"a certificate for {name}", lambda: certificates(daemon).get(name), 30)


def findings(daemon):
    """What doctor says of front that is not well."""
    lines = daemon.cli("doctor", check=False).stdout.splitlines()
    return "\n".join(line for line in lines if " front." in line and not line.startswith("ok"))


def test_ordered_kept_and_renewed(authority, pair):
    gateway = pair[0]
    gateway.names = {"hq.example.com": GATEWAY}
    daemon = Daemon(gateway, yaml(authority, "[hq.example.com]"))
    first = ordered(daemon, "hq.example.com")
    answer = authority.ask("hq.example.com")
    assert answer.stdout == "Nothing is served here.\n", answer.stderr
    wait_for("every check of front is well", lambda: not findings(daemon))

    os.kill(daemon.engine_pid(), signal.SIGKILL)
    wait_for("the next engine has it", lambda: daemon.cli("status", check=False).returncode == 0
             and certificates(daemon).get("hq.example.com") == first, 20)
    authority.stop()
    assert daemon.stop() == 0
    daemon.start()
    assert certificates(daemon) == {"hq.example.com": first}

    daemon.cli("front", "renew", "hq.example.com")
    wait_for("the failure is told", lambda: "front renew" in findings(daemon))
    assert certificates(daemon) == {"hq.example.com": first}    # which still holds
    refused = daemon.cli("front", "renew", "other.example.com", check=False)
    assert refused.returncode != 0 and "none of the public names" in refused.stderr


MAC = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


@pytest.mark.accounts({"kid-1": MAC})
def test_an_account_that_the_authority_knows(authority, pair):
    gateway = pair[0]
    gateway.names = {"hq.example.com": GATEWAY}
    daemon = Daemon(gateway, yaml(authority, "[hq.example.com]"))
    wait_for("it is refused", lambda: "xternalAccountBinding" in findings(daemon), 30)
    wrong = gateway.lab.secret("wrong.key", MAC[::-1])
    bound = "eab: {{key-id: kid-1, key: {{file: {}}}}}, "
    daemon.write(yaml(authority, "[hq.example.com]", acme=bound.format(wrong)))
    daemon.cli("reload")
    wait_for("another's key is refused", lambda: "front.acme" in findings(daemon)
             and "xternalAccountBinding" not in findings(daemon), 30)
    assert not certificates(daemon)
    right = gateway.lab.secret("right.key", MAC + "==\n")
    daemon.write(yaml(authority, "[hq.example.com]", acme=bound.format(right)))
    daemon.cli("reload")
    ordered(daemon, "hq.example.com")
    bad = gateway.lab.secret("bad.key", "not base64url!")
    daemon.write(yaml(authority, "[hq.example.com]", acme=bound.format(bad)))
    refused = daemon.cli("reload", check=False)
    assert refused.returncode != 0 and "it is no MAC key" in refused.stderr


def test_by_the_plain_port_and_from_another_way(authority, pair):
    gateway = pair[0]
    daemon = Daemon(gateway, "front: {tls: self-signed, https-port: 8443}\n")
    own = certificates(daemon)[""]
    where = authority.host.run("sh", "-c", f"echo | openssl s_client -connect {GATEWAY}:8443 "
                               "2>/dev/null | openssl x509 -outform der | sha256sum")
    assert where.stdout.split()[0] == own

    # What is there answers until the first one comes, by port 80 since 443 is closed.
    daemon.write(yaml(authority, "[hq.example.com, www.example.com]", "https-port: 8443, "))
    daemon.cli("reload")
    ordered(daemon, "hq.example.com")
    ordered(daemon, "www.example.com")
    assert "" not in certificates(daemon)
    for name in ("hq.example.com", "www.example.com"):
        assert authority.ask(name, 8443).returncode == 0
    text = wait_for("names that do not resolve are told",
                    lambda: "does not lead to this box" in findings(daemon) and findings(daemon))
    assert "hq.example.com" in text and "TCP port 8443" in text

    daemon.write("front: {tls: self-signed, https-port: 8443}\n")
    daemon.cli("reload")
    assert certificates(daemon) == {"": own}

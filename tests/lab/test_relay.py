"""relay: what it says at start of a STUN port that is not reached under its name."""

import re

from lab import Daemon, wait_for

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

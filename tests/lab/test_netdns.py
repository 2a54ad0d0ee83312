"""What our own coordinator says of names, as dig hears it at the service addresses of a node."""

import json

import pytest

from lab import wait_for
from test_dns import MAGIC6, dig
from test_exitdns import DOMAIN, ITS, NET, PLAIN, Net

RECORDS = ("extra-records: [{name: wiki.corp.example.com, value: 100.64.9.9}, "
           f"{{name: db.{DOMAIN}, type: AAAA, value: 'fd7a:115c:a1e0::99'}}]")
SPLIT = f"split: {{corp.example.com: ['{NET}:5353']}}, search: [corp.example.com]"


@pytest.fixture
def net(lab):
    file = lab.dir / "records.json"
    file.write_text("[]")
    one = Net(lab, f"{{nameservers: [{NET}], {SPLIT}, {RECORDS}, extra-records-file: {file}}}\n")
    one.file = file
    wait_for("gate is known", lambda: dig(one.box, f"gate.{DOMAIN}", check=False).data, 20)
    return one


def answers(net, name, rrtype="A", server="100.100.100.100"):
    answer = dig(net.box, name, rrtype, server=server, check=False)
    return answer.status, answer.data


def same(net):
    """All that the coordinator's words come to."""
    gate, box = net.address("gate"), net.address("box")
    for server in ("100.100.100.100", MAGIC6):
        assert answers(net, f"gate.{DOMAIN}", server=server) == ("NOERROR", [gate])
        assert answers(net, f"BOX.{DOMAIN}", server=server) == ("NOERROR", [box])
        assert answers(net, "gate", server=server) == ("NOERROR", [gate])
        assert answers(net, f"nobody.{DOMAIN}", server=server) == ("NXDOMAIN", [])
    assert dig(net.box, "-x", gate).data == [f"gate.{DOMAIN}."]
    # A record goes before the resolvers of its domain, which know the others.
    assert answers(net, "wiki.corp.example.com") == ("NOERROR", ["100.64.9.9"])
    assert answers(net, f"db.{DOMAIN}", "AAAA") == ("NOERROR", ["fd7a:115c:a1e0::99"])
    assert answers(net, f"db.{DOMAIN}") == ("NOERROR", [])
    assert answers(net, "x.corp.example.com") == ("NOERROR", [ITS])
    assert answers(net, "www.example.org") == ("NOERROR", [PLAIN])


def test_what_the_coordinator_says_of_names(net):
    same(net)
    assert net.asked(53, "www.example.org") and net.asked(5353, "x.corp.example.com")
    for port in (53, 5353):
        for name in (f"nobody.{DOMAIN}", f"gate.{DOMAIN}", "wiki.corp.example.com"):
            assert not net.asked(port, name), (port, name)
    said = net.db.cli("dns", "status").stdout
    assert DOMAIN in said and "corp.example.com" in said, said
    # The operator of the network adds a record, and a name that nobody had.
    net.file.write_text(json.dumps([{"name": f"printer.{DOMAIN}", "type": "A",
                                     "value": "100.64.7.7"}]))
    wait_for("the record is told",
             lambda: answers(net, f"printer.{DOMAIN}") == ("NOERROR", ["100.64.7.7"]), 20)
    same(net)
    # He takes his words back: names of nodes are answered still, all others go to the resolver.
    net.hq.write(net.hq_yaml + f"{{magic-dns: false, nameservers: ['{NET}:5353']}}\n")
    net.hq.cli("reload")
    wait_for("another resolver is asked",
             lambda: answers(net, "www.example.org") == ("NOERROR", [ITS]), 20)
    assert answers(net, "wiki.corp.example.com") == ("NOERROR", [ITS])
    assert answers(net, f"gate.{DOMAIN}") == ("NOERROR", [net.address("gate")])
    assert answers(net, f"printer.{DOMAIN}")[0] != "NOERROR"


def test_names_while_the_coordinator_is_away(net):
    before = net.address("gate"), net.address("box")
    same(net)
    net.address = dict(zip(("gate", "box"), before)).get
    assert net.hq.stop() == 0
    same(net)
    # Also to a daemon that has begun in the meantime.
    assert net.db.stop() == 0
    net.db.start()
    net.served()
    wait_for("names are known",
             lambda: answers(net, f"gate.{DOMAIN}") == ("NOERROR", [before[0]]), 20)
    same(net)

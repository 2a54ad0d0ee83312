#!/usr/bin/env python3
"""What the hosted service made of a policy and a tailnet, case by case, against what we make of it.

A case gives users, nodes and a policy. Compared are whether it was accepted, the words of a
refusal, and per node the packet filter, SSH policy, peers with their routes, and capabilities.
The order of sources, principals and rules means nothing to a client and is not compared; the
destinations of a rule keep theirs.

Not compared is the capability default-auto-update: a setting of the account at the time when a case
was recorded, which the case does not tell.
"""

import json
import lzma
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(os.environ["WARREN_SRCDIR"]) / "tests/golden/policy"
BUILD = pathlib.Path(os.environ["WARREN_BUILDDIR"])
EVAL = [BUILD / "warren", "--plugin-dir", BUILD / "plugins/.libs", "policy", "eval", "-"]
NOT_OF_THE_POLICY = ("default-auto-update",)


def cases():
    for path in sorted(HERE.glob("*.jsonl.xz")):
        with lzma.open(path, "rt") as lines:
            yield from map(json.loads, lines)


def exceptions():
    lines = (HERE / "exceptions").read_text().splitlines()
    rows = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return dict(rows)


def text(value):
    return json.dumps(value, sort_keys=True)


def rules(filter_):
    return filter_ and sorted(text({**r, "SrcIPs": sorted(r["SrcIPs"] or [])}) for r in filter_)


def ssh(policy):
    return [text({**r, "principals": sorted(map(text, r["principals"]))}) for r in policy or []]


def caps(node):
    return {k: v for k, v in node["caps"].items() if k not in NOT_OF_THE_POLICY}


def peers(node):
    return {name: {k: sorted(v or []) for k, v in peer.items()}
            for name, peer in node["peers"].items()}


VIEWS = {"filter": lambda n: rules(n["filter"]), "ssh": lambda n: ssh(n["ssh"]), "caps": caps,
         "peers": peers}


def differences(case, got):
    for key in ("accepted", "response"):
        if got[key] != case[key]:
            yield f"{key} is {text(got[key])}, recorded was {text(case[key])}"
            return
    for name, node in (case["expect"] or {}).items():
        for view, of in VIEWS.items():
            if of(got["expect"][name]) != of(node):
                yield (f"{view} of {name} is {text(got['expect'][name][view])[:600]}, "
                       f"recorded was {text(node[view])[:600]}")


def evaluate(case):
    done = subprocess.run(EVAL, input=json.dumps(case), text=True, stdout=subprocess.PIPE,
                          check=True)
    return json.loads(done.stdout)


def main():
    every = list(cases())
    known = exceptions()
    failed = 0
    for case in every:
        found = list(differences(case, evaluate(case)))
        if bool(found) == (case["id"] in known):
            continue
        failed += 1
        print(f"{case['id']}: {found[0] if found else 'passes and is listed as an exception'}")
    if len(known) * 50 > len(every):
        print(f"{len(known)} exceptions of {len(every)} cases are too many")
        failed += 1
    print(f"{len(every)} cases, {len(known)} exceptions, {failed} failed")
    return failed > 0


sys.exit(main())

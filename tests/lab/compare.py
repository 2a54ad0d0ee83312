"""What a daemon could leave behind on a host, as text: `compare.py save FILE`, later `compare.py
diff FILE`, which prints what is other than then and ends with 1 if anything is.

Run in a network namespace it is about that one. Counters, times and what moves by itself are left
out; all else must be the same to the byte: links, addresses, rules, routes of all tables, all of
the packet filter, all switches below net, and the files of /etc that have to do with the network.
"""

import difflib
import hashlib
import pathlib
import re
import subprocess
import sys

COMMANDS = (
    ("ip", "-o", "link"), ("ip", "-o", "addr"), ("ip", "-4", "rule"), ("ip", "-6", "rule"),
    ("ip", "-4", "route", "show", "table", "all"), ("ip", "-6", "route", "show", "table", "all"),
    ("nft", "-s", "-a", "list", "ruleset"), ("iptables-save",), ("ip6tables-save",),
)
# Moves by itself: counts of what there is now, seeds, and what the kernel tunes.
MOVES = re.compile(r"^net\.(netfilter\.nf_conntrack_count|ipv[46]\.route\.flush|"
                   r"ipv[46]\.neigh\.|.*\.(stable_secret|retrans_timer|base_reachable_time.*) )")
FILES = ("resolv.conf", "hosts", "nsswitch.conf", "nftables.conf", "iproute2", "sysctl.d",
         "NetworkManager", "firewalld", "ufw", "default/ufw")


def run(*argv):
    try:
        done = subprocess.run(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              check=False)
    except FileNotFoundError:
        return ""
    return done.stdout


def files():
    for name in FILES:
        top = pathlib.Path("/etc") / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file():
                stat = path.lstat()
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                yield f"{path} {stat.st_mode:o} {stat.st_uid}:{stat.st_gid} {digest}"


def state():
    """Lines, each with what it is about in front."""
    lines = []
    for argv in COMMANDS:
        # Handles count up with each change; a comment line of iptables-save has the time.
        text = re.sub(r" # handle \d+$", "", run(*argv), flags=re.M)
        lines += [f"{' '.join(argv)}: {line}" for line in text.splitlines()
                  if not line.startswith("#")]
    for line in run("sysctl", "-a", "-r", "^net\\.").splitlines():
        if not MOVES.match(line):
            lines.append(f"sysctl: {line}")
    return lines + list(files())


def difference(before):
    """What is other than @before, a state, in the form of diff -u."""
    return "\n".join(difflib.unified_diff(before, state(), "before", "now", lineterm="", n=0))


if __name__ == "__main__":
    where = pathlib.Path(sys.argv[2])
    if sys.argv[1] == "save":
        where.write_text("\n".join(state()))
    else:
        said = difference(where.read_text().split("\n"))
        print(said, end="\n" if said else "")
        sys.exit(1 if said else 0)

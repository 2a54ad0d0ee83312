"""Other programs of a host that change it as ours does, run from their unpacked packages."""

import os
import pathlib

import pytest

from lab import wait_for

UNPACKED = pathlib.Path(os.environ.get("WARREN_UNPACKED", "unpacked"))

# What the packages' scripts would have done, and their files over those of the host.
PLACE = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/lower /run/upper /run/work
cp -a "$1"/. /run/lower
test ! -d /run/lower/lib || cp -a /run/lower/lib/. /run/lower/usr/lib
mount -t overlay overlay -o lowerdir=/run/lower/etc:/etc,upperdir=/run/upper,workdir=/run/work /etc
mount -t overlay overlay -o lowerdir=/run/lower/usr:/usr /usr
if test -d /usr/share/ufw; then
	cp /usr/share/ufw/ufw.conf /usr/share/ufw/*.init /usr/share/ufw/iptables/*.rules /etc/ufw
fi
exec sleep infinity
"""

# For a host whose /etc and /run are its own already.
ADD = """
mkdir -p /run/lower
cp -a "$1"/. /run/lower
test ! -d /run/lower/etc || cp -a /run/lower/etc/. /etc
mkdir -p /run/lower/usr/lib /run/lower/usr/sbin
test ! -d /run/lower/lib || cp -a /run/lower/lib/. /run/lower/usr/lib
test ! -d /run/lower/sbin || cp -a /run/lower/sbin/. /run/lower/usr/sbin
mount -t overlay overlay -o lowerdir=/run/lower/usr:/usr /usr
shift
exec "$@"
"""

# A bus that starts nothing by itself and refuses nobody: who is root is told by the kernel.
BUS = """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<policy context="default"><allow user="*"/><allow own="*"/>
<allow send_type="method_call"/><allow send_type="signal"/>
<allow send_type="method_return"/><allow send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="signal"/>
<allow receive_type="method_return"/><allow receive_type="error"/></policy></busconfig>
"""


def unpacked(package):
    """The folder of a package's files."""
    if not (UNPACKED / package).is_dir():
        pytest.skip(f"{package} is not unpacked: make unpacked")
    return UNPACKED / package


def with_package(package, *argv):
    """The command for @argv with the package's files over those of the host."""
    return ["sh", "-ec", ADD, "sh", unpacked(package), *argv]


class Program:
    """A package's programs in a mount namespace of their own, at one host."""

    def __init__(self, host, package):
        self.host = host
        self.place = host.start("unshare", "-m", "sh", "-ec", PLACE, "sh", unpacked(package),
                                private=False, log=host.lab.dir / f"{package}.log")
        comm = pathlib.Path(f"/proc/{self.place.pid}/comm")
        wait_for(f"{package} is in place", lambda: comm.read_text().strip() == "sleep")

    def argv(self, *argv):
        return ["nsenter", "-t", self.place.pid, "-m", *argv]

    def run(self, *argv, **kw):
        return self.host.run(*self.argv(*argv), **kw)

    def start(self, *argv):
        log = self.host.lab.dir / f"{pathlib.Path(argv[0]).name}.log"
        return self.host.start(*self.argv(*argv), private=False, log=log)


class Firewalld(Program):
    def __init__(self, host, zone):
        super().__init__(host, "firewalld")
        config = host.lab.dir / "bus.conf"
        config.write_text(BUS)
        self.start("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile")
        self.run("sed", "-i", f"s/^DefaultZone=.*/DefaultZone={zone}/",
                 "/etc/firewalld/firewalld.conf")
        self.daemon = None
        self.begin()

    def begin(self):
        self.daemon = self.start("firewalld", "--nofork", "--nopid")
        wait_for("firewalld runs", lambda: self.run("firewall-cmd", "--state", check=False)
                 .stdout.strip() == "running", 30)

    def end(self):
        self.daemon.stop()

    def cmd(self, *argv):
        return self.run("firewall-cmd", *argv).stdout


class Ufw(Program):
    def __init__(self, host):
        super().__init__(host, "ufw")
        self.cmd("--force", "enable")
        self.cmd("reload")      # adds to what the first one laid

    def cmd(self, *argv):
        return self.run("ufw", *argv).stdout

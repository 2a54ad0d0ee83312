"""Settings that commands change: who may, what files win over, what is kept over a restart."""

import os

from lab import BINDIR, Daemon, run, wait_for

OPERATOR, STRANGER = 12345, 54321
FILE = 'node: {operator: "12345"}\ncontrol:\n  shields-up: true\n'
SERVER = ("--login-server", "http://127.0.0.1:1")


def warren(daemon, *argv, uid=0):
    prefix = ["setpriv", "--reuid", uid, "--regid", uid, "--clear-groups"] if uid else []
    return run(*prefix, BINDIR / "warren", "--socket", daemon.socket, *argv, check=False)


def overlay(daemon):
    """What is kept when a command is answered."""
    return (daemon.state_dir / "monitor" / "overlay.yaml").read_text()


def start(lab, yaml):
    lab.dir.chmod(0o711)
    daemon = Daemon(lab.host("a"), yaml)
    daemon.dir.chmod(0o711)
    return daemon


def test_up_without_a_file(lab):
    """`up` switches the plugin on; without a server it says what is missing."""
    daemon = start(lab, "")
    done = warren(daemon, "up")
    assert done.returncode == 2
    assert "--login-server" in done.stderr and "control.url" in done.stderr
    done = warren(daemon, "up", *SERVER, "--auth-key", "k-e-y", "--timeout", "1s")
    assert done.returncode == 1 and "timeout" in done.stderr
    assert '"url": "http://127.0.0.1:1" # uid 0' in overlay(daemon)
    assert "k-e-y" not in overlay(daemon)
    assert warren(daemon, "down").returncode == 0
    assert warren(daemon, "status").stdout == "Warren is stopped.\n"
    daemon.stop()
    daemon.start()
    assert daemon.status()["BackendState"] == "Stopped"


def test_files_and_users(lab):
    daemon = start(lab, "node: {operator: \"12345\"}\n")
    assert warren(daemon, "up", *SERVER, "--timeout", "1s").returncode == 1
    daemon.write(FILE)
    assert warren(daemon, "reload").returncode == 0
    done = warren(daemon, "set", "--shields-up=false")
    assert done.returncode == 1
    assert f"{daemon.config}:3:" in done.stderr and "control.shields-up" in done.stderr
    assert warren(daemon, "set", "--hostname", "one", uid=STRANGER).returncode == 1
    assert warren(daemon, "set", "--hostname", "two", uid=OPERATOR).returncode == 0
    assert f'"hostname": "two" # uid {OPERATOR}' in overlay(daemon)
    assert warren(daemon, "set", "--shields-up=false", "--override").returncode == 0
    assert '"shields-up": false # uid 0' in overlay(daemon)
    differ = "\n# 1 setting differs from the files: control.shields-up\n"
    assert warren(daemon, "status").stdout.endswith(differ)
    assert daemon.status()["daemon"]["overrides"] == [
        {"key": "control.shields-up", "file": str(daemon.config), "line": 3}]
    # As the file says: nothing differs any more.
    assert warren(daemon, "set", "--shields-up").returncode == 0
    assert daemon.status()["daemon"]["overrides"] == []
    assert "differs" not in warren(daemon, "status").stdout


def test_refused_reload_changes_nothing(lab):
    daemon = start(lab, "")
    assert warren(daemon, "up", *SERVER, "--timeout", "1s").returncode == 1
    before = overlay(daemon)
    done = warren(daemon, "set", "--hostname", "good", "--advertise-routes", "10.0.0.1/24")
    assert done.returncode == 1 and "10.0.0.0/24" in done.stderr
    assert overlay(daemon) == before
    assert daemon.json("config", "show")["config"].get("node") in ({}, None)


def test_the_key_is_read_as_whoever_asks(lab):
    """--auth-key file:PATH is opened by the client; the daemon's rights are not lent to anybody."""
    daemon = start(lab, f'node: {{operator: "{OPERATOR}"}}\n')
    roots = lab.secret("roots.key", "k-of-root")
    own = lab.dir / "own.key"
    own.write_text("k-of-operator\n")
    os.chown(own, OPERATOR, OPERATOR)
    own.chmod(0o600)
    done = warren(daemon, "up", *SERVER, "--timeout", "1s", f"--auth-key=file:{roots}",
                  uid=OPERATOR)
    assert done.returncode == 1 and f"cannot open {roots}: Permission denied" in done.stderr
    assert not (daemon.state_dir / "monitor" / "overlay.yaml").exists()
    done = warren(daemon, "up", *SERVER, "--timeout", "1s", f"--auth-key=file:{own}", uid=OPERATOR)
    assert done.returncode == 1 and "timeout" in done.stderr
    assert f'"url": "http://127.0.0.1:1" # uid {OPERATOR}' in overlay(daemon)
    assert "k-of" not in overlay(daemon)


def test_a_file_that_a_command_named_is_opened_as_its_user(lab):
    """From the overlay to the plugin that reads it: control.ca-file."""
    daemon = start(lab, "")
    daemon.stop()
    hidden = lab.secret("hidden.pem", "no certificate, but nobody gets that far")
    own = lab.dir / "own.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-keyout", "/dev/null", "-subj", "/CN=a", "-out", own)
    os.chown(own, OPERATOR, OPERATOR)
    own.chmod(0o600)

    def start_with(path):
        file = daemon.state_dir / "monitor" / "overlay.yaml"
        file.write_text('"control":\n  "url": "https://127.0.0.1:1" # uid 0\n'
                        f'  "ca-file": "{path}" # uid {OPERATOR}\n')
        file.chmod(0o600)
        daemon.start(wait=False)
    start_with(own)
    daemon.ready()
    assert {p["name"]: p["state"] for p in daemon.json("plugins")["plugins"]}["control"] == "up"
    daemon.stop()
    start_with(hidden)
    why = f"cannot open {hidden} as uid {OPERATOR}, who set it: Permission denied"
    wait_for("it says why", lambda: f"overlay.yaml:3:14: {why}" in daemon.proc.output())


def test_set_operator_and_router(lab):
    """What `--operator` names may give commands at once, and no more when it is taken back."""
    daemon = start(lab, "")
    assert warren(daemon, "up", *SERVER, "--timeout", "1s").returncode == 1
    assert warren(daemon, "set", "--accept-routes", uid=OPERATOR).returncode == 1
    assert warren(daemon, "set", f"--operator={OPERATOR}").returncode == 0
    assert f'"operator": "{OPERATOR}" # uid 0' in overlay(daemon)
    done = warren(daemon, "set", "--accept-routes", "--advertise-routes=10.146.0.0/20",
                  uid=OPERATOR)
    assert done.returncode == 0, done.stderr
    assert f'"accept": true # uid {OPERATOR}' in overlay(daemon)
    assert '"router":\n  ' in overlay(daemon)
    done = warren(daemon, "set", f"--operator={STRANGER}", uid=OPERATOR)
    assert done.returncode == 1 and "only root says" in done.stderr
    assert daemon.json("config", "show")["config"]["router"]["advertise"] == [
        "10.146.0.0/20"]
    before = overlay(daemon)
    done = warren(daemon, "set", "--shields-up", "--ssh")
    assert done.returncode == 1 and "--ssh needs the plugin `ssh`" in done.stderr
    assert overlay(daemon) == before
    daemon.stop()
    daemon.start()
    assert warren(daemon, "set", "--accept-routes=false", uid=OPERATOR).returncode == 0
    assert warren(daemon, "set", "--operator=").returncode == 0
    assert warren(daemon, "set", "--accept-routes=false", uid=OPERATOR).returncode == 1

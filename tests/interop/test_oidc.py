"""Logins at a provider: OpenID Connect, and GitHub; what a provider or a browser that lies gets."""

import datetime
import html
import ipaddress
import json
import os
import pathlib
import re
import shutil
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from interop import BIN, Ours, OwnTailnet, Tailscaled, Tsnet, Warren, need, run, wait_for

HERE = pathlib.Path(__file__).resolve().parent / "oidc"
ALL = {"grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"]}]}
PORT = 8443
NODE = BIN.parent / "oidc"      # with oidc-provider


def certify(directory, address):
    """ca.pem, and a certificate of it with its key, for a server at that address."""
    now = datetime.datetime.utcnow()
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
             for name in ("authority", address)]

    def make(subject, key, *extensions):
        one = x509.CertificateBuilder().subject_name(subject).issuer_name(names[0]).public_key(
            key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(
                now - datetime.timedelta(hours=1)).not_valid_after(
                    now + datetime.timedelta(days=1))
        for extension, critical in extensions:
            one = one.add_extension(extension, critical)
        return one.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    directory.mkdir(exist_ok=True)
    (directory / "ca.pem").write_bytes(make(
        names[0], keys[0], (x509.BasicConstraints(ca=True, path_length=None), True)))
    (directory / "cert.pem").write_bytes(make(names[1], keys[1], (x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(address))]), False)))
    (directory / "key.pem").write_bytes(keys[1].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))


class Provided(OwnTailnet):
    """A tailnet of ours whose users log in at a provider beside the coordinator."""

    def begin(self, policy=None, options="", extra=""):
        self.issuer = f"https://{self.CONTROL}:{PORT}"
        self.dir = self.lab.dir / "provider"
        self.provider = None
        certify(self.dir, self.CONTROL)
        self.plan()
        self.provide()
        secret = self.lab.secret("oidc.secret", "s3cret/+")
        self.control = Ours(self, policy or ALL, f"{extra}\n  oidc:\n    issuer: {self.issuer}\n"
                            f"    client-id: warren\n    client-secret: {{file: {secret}}}\n"
                            f"    ca-file: {self.dir / 'ca.pem'}\n{options}")

    def plan(self, **plan):
        temporary = self.dir / "plan.new"
        temporary.write_text(json.dumps(plan))
        temporary.rename(self.dir / "plan.json")

    def provide(self):
        """Starts the provider that does as the plan says."""
        self.provider = self.switch.start(sys.executable, HERE / "hostile.py", self.dir, PORT,
                                          private=False)
        wait_for("the provider listens", lambda: self.provider.output().count("listening"))
        self.provider.log.write_text("")

    def leave(self):
        self.provider.kill()
        self.provider.popen.wait(5)

    def asked(self, path):
        """Requests of that path so far."""
        lines = (self.dir / "requests.jsonl").read_text().splitlines()
        return [r for r in map(json.loads, lines) if r["path"].partition("?")[0] == path]


class Page:
    def __init__(self, status, url, body, head):
        self.status, self.url, self.body, self.head = status, url, body, head
        self.text = html.unescape(re.sub(r"<[^>]+>", " ", body.partition("<main>")[2]))

    @property
    def ticket(self):
        return re.search(r'action="(/oidc/confirm/[^"]+)"', self.body)[1]


class Browser:
    """curl with a jar of cookies, on the switch."""

    count = 0

    def __init__(self, net):
        Browser.count += 1
        self.net, self.jar = net, net.lab.dir / f"jar-{Browser.count}"

    def load(self, url, *options, follow=True):
        done = self.net.switch.run(
            "curl", "-sS", "--cacert", self.net.dir / "ca.pem", "-b", self.jar, "-c", self.jar,
            *(["-L"] if follow else []), "-D", self.net.lab.dir / "head", *options,
            "-w", "\n%{http_code} %{url_effective}", url)
        body, _, last = done.stdout.rpartition("\n")
        status, _, url = last.partition(" ")
        return Page(int(status), url, body, (self.net.lab.dir / "head").read_text().lower())

    def sign_in(self, url):
        """The link of a device, and on to where its page leads: the provider, and back."""
        page = self.load(url)
        assert page.status == 200, page.text
        link = re.search(r'href="(/oidc/login/[0-9a-f]+)"', page.body)[1]
        return self.load(self.net.control.url + link)

    def confirm(self, page, answer="yes"):
        return self.load(self.net.control.url + page.ticket, "-d", f"answer={answer}")


@pytest.fixture
def provided(lab, request):
    """A Provided with the hostile provider; @pytest.mark.provided(...) has its arguments."""
    mark = request.node.get_closest_marker("provided")
    one = Provided(lab, *(mark.args if mark else ()))
    yield one
    assert one.control.proc.alive(), one.control.log()
    one.control.stop()
    for bad in ("assertion", "not end in order"):
        assert bad not in one.control.log(), one.control.log()
    assert "Traceback" not in one.provider.output(), one.provider.output()


def device(net, name="warren"):
    """A daemon of ours that waits for a user, and its link."""
    warren = Warren(net, name, auth_key=None, joined=False)
    return warren, warren.auth_url()


def runs(warren):
    wait_for(f"{warren.name} runs", lambda: warren.control()["state"] == "Running", 20)


def test_a_user_logs_in(provided):
    warren, url = device(provided)
    browser = Browser(provided)
    page = browser.sign_in(url)
    assert page.status == 200 and "Let this device in?" in page.text
    assert "warren" in page.text and "alice@example.com" in page.text
    assert "default-src 'none'" in page.head and "script" not in page.body
    assert "httponly; samesite=strict" in page.head
    assert warren.control()["state"] == "NeedsLogin"
    page = browser.confirm(page)
    assert page.status == 200 and "The device is in" in page.text, page.text
    runs(warren)
    node = provided.control.node("warren")
    user, = provided.control.json("user", "list")["users"]
    assert node["user"] == user["login"] == "alice@example.com"
    asked, = provided.asked("/authorize")
    for part in ("code_challenge_method=S256", "nonce=", "state=", "response_type=code"):
        assert part in asked["path"]
    log = provided.control.cli("coordinator", "log").stdout
    assert "alice@example.com" in log


def refused(provided, browser, url, *parts):
    page = browser.sign_in(url)
    assert page.status == 403 and "not let in" in page.text, (page.status, page.text)
    for part in parts:
        assert part in page.text
        assert part in provided.control.log()
    assert not provided.control.nodes()


# In portions: peers may cause five lines of the log in ten seconds.
@pytest.mark.parametrize("lies", [
    [("nonce", "the answer to another login"), ("audience", "it is for another client"),
     ("issuer", "it is of another issuer"), ("expired", "it has expired")],
    [("unsigned", "no signed token"), ("hs256", "no kind that we accept"),
     ("forged", "the signature is wrong"), ("no-token", "it has no ID token")],
    [("code", "does not take the login's code: invalid_grant"),
     ("denied", "you or the provider said no"), ("mix-up", "from another provider"),
     ("silent", "from another provider"), ("info", "userinfo is about somebody else")]],
    ids=("claims", "signatures", "rest"))
def test_answers_that_are_refused(provided, lies):
    warren, url = device(provided)
    browser = Browser(provided)
    for lie, part in lies:
        provided.plan(lie=lie, **({"userinfo": {"sub": "2"}} if lie == "info" else {}))
        refused(provided, browser, url, part)
    provided.plan()
    assert browser.confirm(browser.sign_in(url)).status == 200
    runs(warren)


def test_states_codes_and_answers_are_good_once(provided):
    warren, url = device(provided)
    alice, mallory = Browser(provided), Browser(provided)
    code = url.rpartition("/")[2]
    out = alice.load(f"{provided.control.url}/oidc/login/{code}", follow=False)
    assert out.status == 302
    there = re.search(r"location: (\S+)", (provided.lab.dir / "head").read_text())[1]
    at_provider = alice.load(there, follow=False)
    back = re.search(r"(?i)location: (\S+)", (provided.lab.dir / "head").read_text())[1]
    assert at_provider.status == 302
    # Somebody else's browser, who was sent the link back: the login is spoilt for both.
    page = mallory.load(back)
    assert page.status == 403 and "in this browser" in page.text
    assert alice.load(back).status == 403
    # The same once more, by the right one; and again.
    page = alice.sign_in(url)
    again = alice.load(page.url)
    assert again.status == 403 and "in this browser" in again.text
    assert "no such login has begun in this browser" in provided.control.log()
    # Asked is alice, in her browser.
    assert mallory.confirm(page).status == 403
    long = alice.load(provided.control.url + page.ticket, "-d", "answer=" + "y" * 2000)
    assert long.status == 400
    assert alice.confirm(page).status == 403        # an answer that was none was the one
    page = alice.sign_in(url)
    assert warren.control()["state"] == "NeedsLogin"
    assert alice.confirm(page).status == 200
    assert alice.confirm(page).status == 403
    runs(warren)


def test_a_device_that_is_not_mine(provided):
    warren, url = device(provided)
    browser = Browser(provided)
    page = browser.confirm(browser.sign_in(url), "no")
    assert page.status == 200 and "turned away" in page.text
    wait_for("it is told", lambda: "rejected" in warren.log())
    assert not provided.control.nodes()
    assert browser.load(url).status == 404


def test_provider_is_away_and_comes_back(provided):
    warren, url = device(provided)
    browser = Browser(provided)
    browser.confirm(browser.sign_in(url))
    runs(warren)
    provided.leave()
    other, url = device(provided, "other")
    # What it said of itself is known; that it is gone shows when the code is exchanged.
    out = browser.load(url.replace("/register/", "/oidc/login/"), follow=False)
    assert out.status == 302
    state = re.search(r"state=([^&]+)", out.head)[1]
    state = re.search(f"(?i){re.escape(state)}", (provided.lab.dir / "head").read_text())[0]
    page = browser.load(f"{provided.control.url}/oidc/callback?code=1&state={state}"
                        f"&iss={provided.issuer}")
    assert page.status == 503 and "does not answer" in page.text
    assert "cannot be asked for a token" in provided.control.log()
    provided.control.stop()
    provided.control.start()
    wait_for("the log says so", lambda: "nobody can log in" in provided.control.log())
    wait_for("its device is not touched", lambda: provided.control.node("warren")["online"], 30)
    wait_for("a link of the new server", lambda: browser.load(other.auth_url()).status == 200, 60)
    page = browser.load(other.auth_url().replace("/register/", "/oidc/login/"))
    assert page.status == 503 and "Nobody can log in at the moment" in page.text
    assert "Devices that are in go on as before" in page.text
    # The operator can let it in all the same.
    provided.control.cli("node", "approve", other.auth_url().rpartition("/")[2], "--user",
                         "alice@example.com")
    runs(other)
    provided.provide()
    third, url = device(provided, "third")
    wait_for("it is asked again", lambda: browser.load(
        url.replace("/register/", "/oidc/login/"), follow=False).status == 302)
    browser.confirm(browser.sign_in(url))
    runs(third)


def test_keys_rotate(provided):
    warren, url = device(provided)
    browser = Browser(provided)
    provided.plan(key="second", published=["first", "second"])
    # Keys that are asked for in vain a moment ago are not asked for again at once.
    count = len(provided.asked("/jwks"))
    page = browser.sign_in(url)
    if page.status == 403:
        assert "none of the provider's keys" in page.text
        assert len(provided.asked("/jwks")) == count

    def later():
        return browser.sign_in(url).status == 200

    wait_for("the new key is looked for", later, 60, 2)
    assert len(provided.asked("/jwks")) == count + 1
    provided.plan(key="third", published=["first"])
    page = browser.sign_in(url)
    assert page.status == 403 and "none of the provider's keys" in page.text
    assert len(provided.asked("/jwks")) == count + 1
    provided.plan(key="second")
    browser.confirm(browser.sign_in(url))
    runs(warren)


def test_a_user_is_issuer_and_subject(provided):
    browser = Browser(provided)
    warren, url = device(provided)
    browser.confirm(browser.sign_in(url))
    runs(warren)
    before = provided.control.json("user", "list")["users"]
    # The same account with another address is the same user.
    provided.plan(claims={"email": "alice@new.example.com"})
    other, url = device(provided, "other")
    browser.confirm(browser.sign_in(url))
    runs(other)
    after, = provided.control.json("user", "list")["users"]
    assert after["id"] == before[0]["id"] and after["login"] == "alice@new.example.com"
    # Another account with that address is none of them.
    provided.plan(claims={"sub": "2", "email": "Alice@new.example.com"})
    third, url = device(provided, "third")
    page = browser.confirm(browser.sign_in(url))
    assert page.status == 403 and "another account" in page.text
    # Nor is one that only says that it has it.
    provided.plan(claims={"sub": "3", "email": "alice@new.example.com", "email_verified": False})
    browser.confirm(browser.sign_in(url))
    runs(third)
    assert provided.control.node("third")["user"] == f"3@{provided.CONTROL}"


GROUPS = {"groups": {"group:ops": []}, "grants": [
    {"src": ["group:ops"], "dst": ["*"], "ip": ["*"]}]}


@pytest.mark.provided(GROUPS, "    allowed-groups: [vpn]\n    policy-groups: true\n"
                      "    allowed-domains: [example.com]\n    expiry-follows-token: true\n",
                      "\n  approval: required")
def test_gates_groups_expiry_and_approval(provided):
    browser = Browser(provided)
    warren, url = device(provided)
    refused(provided, browser, url, "none of the groups that may log in")
    provided.plan(userinfo={"sub": "1", "groups": ["vpn", "ops"], "email_verified": False,
                            "email": "alice@example.com"})
    refused(provided, browser, url, "has not verified your e-mail address")
    provided.plan(claims={"email": "alice@example.org"}, userinfo={"sub": "1", "groups": "vpn"})
    refused(provided, browser, url, "addresses of your domain may not")
    provided.plan(userinfo={"sub": "1", "groups": ["vpn", "ops"]})
    page = browser.confirm(browser.sign_in(url))
    assert page.status == 200 and "The device waits" in page.text
    wait_for("it waits", lambda: warren.control()["state"] == "NeedsMachineAuth")
    provided.control.cli("node", "approve", "warren")
    runs(warren)
    node = provided.control.node("warren")
    left = datetime.datetime.fromisoformat(node["expiry"].replace("Z", "+00:00")) - \
        datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(minutes=50) < left < datetime.timedelta(minutes=61)
    tagged = provided.control.auth_key("--user", "alice@example.com", "--preauthorized")
    two = Warren(provided, "two", auth_key=tagged, joined=False)
    runs(two)
    address = provided.control.node("two")["addresses"][0]
    warren.pings(address)
    # Who is no longer in the group at the next login has lost it.
    provided.plan(userinfo={"sub": "1", "groups": ["vpn"]})
    third, url = device(provided, "third")
    browser.confirm(browser.sign_in(url))
    wait_for("it waits", lambda: third.control()["state"] == "NeedsMachineAuth")
    wait_for("the first one does not get through", lambda: warren.host.ping(
        address, wait=1, check=False).returncode != 0)


HUB = {"user": {"login": "octocat", "id": 583231, "type": "User", "name": "The Octocat",
                "avatar_url": "https://example.com/u/583231", "email": None},
       "emails": [{"email": "old@example.com", "primary": False, "verified": True,
                   "visibility": None},
                  {"email": "octocat@example.com", "primary": True, "verified": True,
                   "visibility": "private"}],
       "orgs": [{"login": f"org-{i}", "id": i} for i in range(100)] + [{"login": "acme", "id": 7}],
       "teams": [{"id": 1, "name": "Ops", "slug": "ops", "organization": {"login": "acme"}},
                 {"id": 2, "name": "Ops", "slug": "ops", "organization": {"login": "org-1"}}]}
TEAMS = {"groups": {"group:acme/ops": [], "group:org-1/ops": []}, "grants": [
    {"src": ["group:acme/ops"], "dst": ["*"], "ip": ["*"]}]}


@pytest.mark.provided(TEAMS, "    type: github\n    allowed-groups: [acme/ops]\n"
                      "    policy-groups: true\n")
def test_github(provided):
    browser = Browser(provided)
    warren, url = device(provided)
    provided.plan(github=dict(HUB, teams=HUB["teams"][1:]))
    refused(provided, browser, url, "none of the groups that may log in")
    provided.plan(github=HUB)
    page = browser.sign_in(url)
    assert "octocat@github" in page.text, page.text
    assert browser.confirm(page).status == 200
    runs(warren)
    user, = provided.control.json("user", "list")["users"]
    assert user["login"] == "octocat@github" and user["email"] == "octocat@example.com"
    assert [r["path"] for r in provided.asked("/api/v3/user/orgs")][-2:] == [
        "/api/v3/user/orgs?per_page=100&page=1", "/api/v3/user/orgs?per_page=100&page=2"]
    # The name went to somebody else, who is not the one that policies mean.
    provided.plan(github=dict(HUB, user=dict(HUB["user"], id=7), emails=[]))
    other, url = device(provided, "other")
    page = browser.confirm(browser.sign_in(url))
    assert page.status == 403 and "another account" in page.text
    # A token that the API does not take, and an API that is gone.
    provided.plan(github={"user": {"message": "Not Found"}})
    refused_page = browser.sign_in(url)
    assert refused_page.status == 403 and "does not say who the user is" in refused_page.text
    assert other.control()["state"] == "NeedsLogin"


class Real(Provided):
    """The same with oidc-provider, unpatched."""

    def provide(self):
        (self.dir / "groups.json").write_text(json.dumps({"alice": ["ops"]}))
        program = NODE / "provider.mjs"
        shutil.copy(HERE / "provider.mjs", program)
        self.provider = self.switch.start("node", program, self.dir, self.issuer,
                                          f"http://{self.CONTROL}:8080/oidc/callback",
                                          private=False, env=dict(os.environ, NODE_ENV="test"))
        wait_for("oidc-provider listens", lambda: "listening" in self.provider.output(), 30)

    def visit(self, url, name, answer="yes"):
        """What Chromium shows: the link, the question, the end."""
        profile = self.lab.dir / f"chromium-{name}"
        done = self.switch.run(sys.executable, HERE / "browser.py", profile, url, name, answer,
                               timeout=120)
        pages = json.loads(done.stdout)
        for page in pages:
            assert page["lang"] == "en" and page["headings"] == 1 and page["styled"], page
            assert not page["messages"] and all(page["controls"]), page
        return pages


@pytest.fixture
def real(lab):
    if not (NODE / "node_modules/oidc-provider").exists():
        pytest.skip(f"no oidc-provider in {NODE}: tests/interop/build.sh makes it, with npm")
    if need("node", "chromedriver"):
        pytest.skip(f"not installed: {', '.join(need('node', 'chromedriver'))}")
    version = run("node", "--version").stdout.strip()
    if int(version[1:].partition(".")[0]) < 20:
        pytest.skip(f"Node.js {version} is too old for oidc-provider: 20 or later")
    one = Real(lab, GROUPS, "    policy-groups: true\n"
               "    scopes: [openid, profile, email, groups]\n")
    yield one
    assert one.control.proc.alive(), one.control.log()


def log_in(real, stock, name):
    """`tailscale up`, and what its user sees."""
    up = stock.host.start(BIN / "tailscale", f"--socket={stock.socket}", "up", "--timeout=60s",
                          f"--login-server={real.control.url}", f"--hostname={stock.name}",
                          private=False)
    pages = real.visit(wait_for("a link", lambda: stock.status()["AuthURL"]), name)
    assert up.popen.wait(30) == 0, up.output()
    stock.ip4, stock.ip6 = stock.cli("ip").stdout.split()
    return pages


def test_stock_client_by_a_browser(real):
    stock = Tailscaled(real, up=None)
    link, question, end = log_in(real, stock, "alice")
    assert "stock" in link["text"] and f"Sign in with {real.CONTROL}" in link["controls"]
    assert "stock" in question["text"] and "alice@example.com" in question["text"]
    assert question["controls"] == ["Let stock in", "It is not mine"]
    assert end["title"] == "The device is in"
    first = real.control.node("stock")
    assert first["user"] == "alice@example.com"
    # alice is in group:ops, and reaches what bob has; bob is not.
    tsnet = Tsnet(real, auth_key=real.control.auth_key("--user", "alice@example.com"))
    stock.pings(tsnet.ip4)
    # The same device with another user is another node; with the first one it is the first again.
    stock.cli("logout")
    log_in(real, stock, "bob")
    second = wait_for("another node", lambda: next(
        (n for n in real.control.nodes() if n["user"] == "bob@example.com"), None))
    assert second["id"] != first["id"] and stock.ip4 in second["addresses"]
    assert stock.host.ping(tsnet.ip4, wait=1, check=False).returncode != 0
    stock.cli("logout")
    # alice's browser is signed in still, and is asked all the same.
    pages = log_in(real, stock, "alice")
    assert pages[1]["controls"] == ["Let stock in", "It is not mine"]
    assert stock.ip4 in first["addresses"]
    assert {n["id"] for n in real.control.nodes() if n["name"].startswith("stock")} == {
        first["id"], second["id"]}
    stock.pings(tsnet.ip4)
    assert not [line for line in real.provider.output().splitlines() if "error" in line]


def test_ssh_is_let_in_by_its_owner(real):
    real.control.set_policy({**ALL, "ssh": [{
        "action": "check", "src": ["autogroup:member"], "dst": ["autogroup:self"],
        "users": ["root"], "checkPeriod": "always"}]})
    near = Tailscaled(real, "near", up=None)
    log_in(real, near, "alice")
    near.cli("set", "--ssh")
    auth_key = real.control.auth_key("--user", "alice@example.com")
    far = Tailscaled(real, "far", up=(f"--auth-key={auth_key}", "--ssh"))
    near.pings(far.ip4)

    def ssh():
        session = near.host.start("/usr/bin/ssh", "-o", "StrictHostKeyChecking=no", "-o",
                                  "UserKnownHostsFile=/dev/null", f"root@{far.ip4}",
                                  "echo reached", private=False)
        held = wait_for("it is held", lambda: real.control.json("node", "pending")["ssh"])
        wait_for("its user is told where", lambda: held[0]["code"] in session.output())
        return session, f"{real.control.url}/auth/{held[0]['code']}"

    first, url = ssh()
    # Neither is somebody else let through, nor is alice, whose browser is signed in still, unasked.
    link, end = real.visit(url, "bob")
    assert "near" in link["text"] and "root" in link["text"]
    assert end["title"] == "You are not let in" and "somebody else" in end["text"]
    link, question, end = real.visit(url, "alice")
    assert link["controls"] == [f"Sign in with {real.CONTROL}"]
    assert "alice@example.com" in question["text"]
    assert question["controls"] == ["Let it in", "It is not mine"]
    assert end["title"] == "The session is let in"
    assert first.popen.wait(15) == 0, first.output()
    assert "reached" in first.output()
    second, url = ssh()
    assert real.visit(url, "alice", "no")[2]["title"] == "The session was turned away"
    assert second.popen.wait(15) != 0, second.output()
    rows = [(r["action"], r["actor"]) for r in real.control.json("coordinator", "log")["log"]]
    assert ("ssh.approve", "alice@example.com") in rows, rows
    assert ("ssh.refuse", "alice@example.com") in rows, rows
    # Each time she was asked who she is: max_age is the flow's.
    assert real.provider.output().count("signed in") == 4, real.provider.output()


def test_stock_client_turned_away(real):
    stock = Tailscaled(real, up=None)
    up = stock.host.start(BIN / "tailscale", f"--socket={stock.socket}", "up", "--timeout=20s",
                          f"--login-server={real.control.url}", private=False)
    pages = real.visit(wait_for("a link", lambda: stock.status()["AuthURL"]), "alice", "no")
    assert pages[2]["title"] == "The device was turned away"
    assert not real.control.nodes()
    up.stop()

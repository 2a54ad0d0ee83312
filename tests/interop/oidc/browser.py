"""Chromium signs somebody in: browser.py PROFILE LINK NAME ANSWER; prints the pages as JSON.

Driven by chromedriver, in the W3C's WebDriver protocol. PROFILE keeps the cookies. NAME signs in at
the provider where that asks, and presses the button ANSWER (yes, no) at the end.
"""

import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

PROFILE, LINK, NAME, ANSWER = pathlib.Path(sys.argv[1]), *sys.argv[2:5]
ORIGIN = "/".join(LINK.split("/")[:3]) + "/"
PORT = 9515
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, method=method)
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)["value"]


def until(what, test, seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            value = test()
        except (urllib.error.URLError, ConnectionError):
            value = None
        if value:
            return value
        if time.monotonic() > end:
            sys.exit(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Session:
    def __init__(self):
        self.path = "/session/" + ask("/session", {"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": True, "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-background-networking", "--no-first-run", "--no-proxy-server",
                f"--user-data-dir={PROFILE}"]}}}})["sessionId"]
        self.pages = []

    def find(self, css):
        found = ask(self.path + "/elements", {"using": "css selector", "value": css})
        return found[0][ELEMENT] if found else None

    def text(self, css):
        return ask(f"{self.path}/element/{self.find(css)}/text")

    def click(self, css):
        ask(f"{self.path}/element/{self.find(css)}/click", {})

    def type(self, css, text):
        ask(f"{self.path}/element/{self.find(css)}/value", {"text": text})

    def run(self, script):
        return ask(self.path + "/execute/sync", {"script": script, "args": []})

    def ours(self, what, css):
        """Waits for a page of ours and keeps what it shows."""
        until(what, lambda: self.find(css))
        controls = [ask(f"{self.path}/element/{e[ELEMENT]}/computedlabel") for e in ask(
            self.path + "/elements", {"using": "css selector", "value": "a, button"})]
        self.pages.append({
            "url": ask(self.path + "/url"), "title": ask(self.path + "/title"),
            "text": self.text("main"), "controls": controls,
            "lang": self.run("return document.documentElement.lang"),
            "headings": self.run("return document.querySelectorAll('h1').length"),
            "styled": self.run("return getComputedStyle(document.querySelector('main'))"
                               ".fontFamily.includes('sans-serif')"),
            "messages": [m["message"] for m in ask(self.path + "/se/log", {"type": "browser"})
                         if m["message"].startswith(ORIGIN) and "favicon" not in m["message"]
                         # Of a page that is a refusal, Chromium says so.
                         and "a status of 403" not in m["message"]]})

    def at_provider(self):
        """Its pages, whichever it shows, until ours comes."""
        if self.find("input[name=login]"):
            self.type("input[name=login]", NAME)
            self.type("input[name=password]", "anything")
        elif ask(self.path + "/url").startswith(ORIGIN):
            return self.find("main")
        if self.find("button[type=submit]"):
            self.click("button[type=submit]")
        return False


driver = subprocess.Popen(["chromedriver", f"--port={PORT}"], stdout=subprocess.DEVNULL)
try:
    until("chromedriver is ready", lambda: ask("/status")["ready"])
    session = Session()
    try:
        ask(session.path + "/url", {"url": LINK})
        session.ours("the page of the link", "a.go")
        session.click("a.go")
        until("the provider sends back", session.at_provider, 40)
        session.ours("the question, or a refusal", "main")
        if session.find("form[action^='/oidc/confirm/']"):
            session.click(f"button[value={ANSWER}]")
            session.ours("the answer", "main:not(:has(form))")
        print(json.dumps(session.pages))
    finally:
        ask(session.path, method="DELETE")
finally:
    driver.terminate()
    driver.wait(10)

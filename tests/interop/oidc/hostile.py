"""An OpenID Connect provider that does as a file says, and GitHub's endpoints: hostile.py DIR PORT.

DIR has cert.pem and key.pem, and plan.json, which is read at every request:

    lie         what is wrong with the next answers; see LIES; absent: nothing
    claims      of the ID token, over those that it has
    userinfo    the answer of that endpoint
    key         the name of the key that signs; another name is another key
    published   names of the keys in the JWKS; absent: just that one
    github      what GitHub's API says: user, emails, orgs, teams

Everybody who comes is signed in at once. What is asked is written to requests.jsonl.
"""

import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import secrets
import ssl
import sys
import time
import urllib.parse

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

DIR, PORT = pathlib.Path(sys.argv[1]), int(sys.argv[2])
ADDRESS = "10.54.17.1"
ISSUER = f"https://{ADDRESS}:{PORT}"
LIES = ("nonce", "audience", "issuer", "expired", "unsigned", "hs256", "forged", "no-token", "code",
        "denied", "mix-up", "silent")
keys, codes = {}, {}


def plan():
    return json.loads((DIR / "plan.json").read_text())


def b64(data):
    data = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key(name):
    if name not in keys:
        keys[name] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return keys[name]


def public(name):
    numbers = key(name).public_key().public_numbers()
    return {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": name,
            "n": b64(numbers.n.to_bytes(256, "big")), "e": b64(numbers.e.to_bytes(3, "big"))}


def sign(claims, lie, name):
    head = {"alg": {"unsigned": "none", "hs256": "HS256"}.get(lie, "RS256"), "kid": name}
    text = f"{b64(head)}.{b64(claims)}"
    if lie == "unsigned":
        return text + "."
    if lie == "hs256":      # with what everybody knows for a secret
        pem = key(name).public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return f"{text}.{b64(hmac.digest(pem, text.encode(), 'sha256'))}"
    signer = key("of somebody else" if lie == "forged" else name)
    return f"{text}.{b64(signer.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def id_token(nonce, now, told):
    lie = told.get("lie")
    claims = {"iss": ISSUER, "sub": "1", "aud": "warren", "nonce": nonce, "iat": now,
              "exp": now + 3600, "email": "alice@example.com", "email_verified": True,
              "name": "Alice", **told.get("claims", {})}
    if lie == "nonce":
        claims["nonce"] = secrets.token_urlsafe(32)
    if lie == "audience":
        claims["aud"] = "another"
    if lie == "issuer":
        claims["iss"] = "https://other.example.com"
    if lie == "expired":
        claims.update(iat=now - 7200, exp=now - 3600)
    return sign(claims, lie, told.get("key", "first"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, status=200, location=None):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(data)

    def note(self, form=None):
        with open(DIR / "requests.jsonl", "a", encoding="utf-8") as log:
            print(json.dumps({"path": self.path, "form": form,
                              "authorization": self.headers.get("Authorization")}), file=log)

    def authorize(self, query, told):
        code = secrets.token_hex(8)
        codes[code] = query
        back = {"state": query["state"], "code": code, "iss": ISSUER}
        if told.get("lie") == "denied":
            back = {"state": query["state"], "error": "access_denied", "iss": ISSUER}
        if told.get("lie") == "mix-up":
            back["iss"] = "https://other.example.com"
        if told.get("lie") == "silent":
            del back["iss"]
        self.answer({}, 302, f"{query['redirect_uri']}?{urllib.parse.urlencode(back)}")

    def api(self, what, query, told):
        if self.headers.get("Authorization") != "Bearer gho_access":
            return self.answer({"message": "Bad credentials"}, 401)
        value = told["github"][what]
        if isinstance(value, list) and "per_page" in query:
            size, page = int(query["per_page"]), int(query["page"])
            value = value[(page - 1) * size:page * size]
        return self.answer(value)

    def do_GET(self):   # pylint: disable=invalid-name
        url = urllib.parse.urlsplit(self.path)
        query, told = dict(urllib.parse.parse_qsl(url.query)), plan()
        self.note()
        if url.path == "/.well-known/openid-configuration":
            self.answer({"issuer": ISSUER, "authorization_endpoint": ISSUER + "/authorize",
                         "token_endpoint": ISSUER + "/token", "jwks_uri": ISSUER + "/jwks",
                         "userinfo_endpoint": ISSUER + "/userinfo",
                         "authorization_response_iss_parameter_supported": True})
        elif url.path in ("/authorize", "/login/oauth/authorize"):
            self.authorize(query, told)
        elif url.path == "/jwks":
            names = told.get("published", [told.get("key", "first")])
            self.answer({"keys": [public(name) for name in names]})
        elif url.path == "/userinfo":
            assert self.headers.get("Authorization") == "Bearer access"
            sub = told.get("claims", {}).get("sub", "1")
            self.answer(told.get("userinfo", {"sub": sub}))
        elif url.path.startswith("/api/v3/user"):
            self.api(url.path[8:].partition("/")[2] or "user", query, told)
        else:
            self.answer({}, 404)

    def token(self, form, told):
        asked = codes.pop(form.get("code"), None)
        if not asked or told.get("lie") == "code":
            return self.answer({"error": "invalid_grant"}, 400)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if asked.get("code_challenge_method") != "S256" or b64(digest) != asked["code_challenge"]:
            return self.answer({"error": "invalid_grant", "error_description": "PKCE"}, 400)
        if form["redirect_uri"] != asked["redirect_uri"]:
            return self.answer({"error": "invalid_grant"}, 400)
        body = {"access_token": "access", "token_type": "Bearer",
                "id_token": id_token(asked["nonce"], int(time.time()), told)}
        if told.get("lie") == "no-token":
            del body["id_token"]
        return self.answer(body)

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form, told = dict(urllib.parse.parse_qsl(body)), plan()
        self.note(form)
        if self.path == "/login/oauth/access_token":
            # GitHub says 200 to errors as well.
            if form.get("client_secret") != "s3cret/+" or not codes.pop(form.get("code"), None):
                self.answer({"error": "bad_verification_code",
                             "error_description": "The code passed is incorrect or expired."})
            else:
                self.answer({"access_token": "gho_access", "token_type": "bearer",
                             "scope": "read:org,user:email"})
        elif self.headers.get("Authorization") != "Basic " + base64.b64encode(
                b"warren:s3cret%2F%2B").decode():
            self.answer({"error": "invalid_client"}, 401)
        else:
            self.token(form, told)


server = http.server.ThreadingHTTPServer((ADDRESS, PORT), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(DIR / "cert.pem", DIR / "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()

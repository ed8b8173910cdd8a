"""An OpenID Connect server: discovery, authorization by code with PKCE, token, keys and userinfo. It asks nobody
anything: who "sits in the browser" is set by the test."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "marketmon", "$a secret of:the client"


@dataclass
class OidcServer:
    """The server's state; `person` holds the claims of who signs in next."""

    url: str = ""
    person: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def _handler(server: OidcServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, body: Any, status: int = 200) -> None:
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            server.asked.append(parts.path)
            if parts.path == "/.well-known/openid-configuration":
                self.answer(_configuration(server.url))
            elif parts.path == "/authorize":
                code = secrets.token_urlsafe(8)
                server.codes[code] = query
                self.send_response(302)
                self.send_header(
                    "Location", f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"
                )
                self.end_headers()
            elif parts.path == "/userinfo":
                self.answer(server.tokens[self.headers["Authorization"].removeprefix("Bearer ")])
            else:
                self.answer({}, 404)

        def do_POST(self) -> None:
            form = {n: v[0] for n, v in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()}
            asked = server.codes.pop(form["code"])
            proof = (
                base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
            )
            if (form.get("client_secret"), proof) != (CLIENT_SECRET, asked["code_challenge"]):
                return self.answer({"error": "invalid_client"}, 401)
            token, now = secrets.token_urlsafe(8), int(time.time())
            server.tokens[token] = server.person
            claims = {"iss": server.url, "aud": CLIENT_ID, "iat": now, "exp": now + 60, **server.person}
            signed = jwt.encode(claims, server.key, algorithm="RS256", headers={"kid": "1"})
            return self.answer({"access_token": token, "token_type": "Bearer", "id_token": signed})

    return Handler


def _configuration(url: str) -> dict[str, Any]:
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/authorize",
        "token_endpoint": f"{url}/token",
        "userinfo_endpoint": f"{url}/userinfo",
        "jwks_uri": f"{url}/jwks",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    }


@contextmanager
def oidc_server() -> Iterator[OidcServer]:
    state = OidcServer()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    state.url = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield state
    finally:
        listening.shutdown()

"""What tests of registries need that a site has: a CA with certificates, and a token server as Docker Hub's.

The token flow is that of distribution's documentation (spec/auth/token, spec/auth/jwt): the registry names this server in its
challenge, the engine asks it for a token for one repository, and the registry trusts the certificate inside the token.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID


class Authority:
    """A key and a certificate that signs itself: the CA and the server's certificate in one, as small sites have it."""

    def __init__(self, folder: Path, address: str) -> None:
        """Writes `key.pem` and `ca.pem`; the certificate is valid for the IP `address`."""
        folder.mkdir(exist_ok=True)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test CA of {address}")])
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.key_file, self.ca_file = folder / "key.pem", folder / "ca.pem"
        unencrypted = serialization.NoEncryption()
        self.key_file.write_bytes(
            self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, unencrypted)
        )
        self.ca_file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))


class TokenServer:
    """Gives everybody a token to pull, and `username` with `password` one to push to the repositories below `writable`."""

    SERVICE, ISSUER = "test-registry", "test-token-server"

    def __init__(self, authority: Authority, username: str, password: str, writable: str) -> None:
        self._authority = authority
        self._login = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
        self._writable = writable
        #: The scopes that were asked for.
        self.asked: list[str] = []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def registry_config(self) -> dict[str, Any]:
        """The `auth` part of the registry's configuration."""
        realm = f"http://127.0.0.1:{self._server.server_address[1]}/token"
        bundle = str(self._authority.ca_file)
        return {"token": {"realm": realm, "service": self.SERVICE, "issuer": self.ISSUER, "rootcertbundle": bundle}}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def token(self, scopes: list[str], authorization: str | None) -> str | None:
        """A token with those of the wanted rights that are granted; None for a wrong login."""
        self.asked += scopes
        if authorization not in (None, self._login):
            return None
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            granted = [one for one in actions.split(",") if one == "pull" or (authorization and name.startswith(self._writable))]
            access.append({"type": kind, "name": name, "actions": granted})
        now = int(time.time())
        certificate = base64.b64encode(self._authority.certificate.public_bytes(serialization.Encoding.DER)).decode()
        header = {"typ": "JWT", "alg": "RS256", "x5c": [certificate]}
        claims = {
            "iss": self.ISSUER,
            "sub": "",
            "aud": self.SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(now),
            "access": access,
        }
        signed = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        return f"{signed}.{_base64url(self._authority.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _handler(server: TokenServer) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            scopes = [scope for value in parse_qs(urlsplit(self.path).query).get("scope", []) for scope in value.split(" ")]
            token = server.token(scopes, self.headers.get("Authorization"))
            content = json.dumps({"token": token} if token else {"details": "incorrect username or password"}).encode()
            self.send_response(200 if token else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            """Engines try OAuth first and fall back to GET when there is none."""
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler

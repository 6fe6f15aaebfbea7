"""How one OpenPAI cluster is talked to: address, TLS, time-outs, retries, login. What is said is in `pai_client.py`.

Every failure is a `PaiError`: one sentence that names the cluster's address. What the server does and why is in
OpenPAI's sources at v1.8.1; where a method works around it, its comment says so.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import re
import time
import urllib.parse
from typing import Any

from .errors import GoldenJobsError, causes, reason

try:
    import requests
    import urllib3
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import MaxRetryError, ResponseError
    from urllib3.util.retry import Retry
except ImportError:  # reported as one sentence by `PaiSession`
    requests = None  # type: ignore[assignment]
    Retry = object  # type: ignore[assignment,misc]

#: Longest wait that a 429 or 503 may impose on one request; most windows of the server's limits have 60 s.
RATE_LIMIT_WAIT_S = 65
#: Pauses before the next try after a 401 with a token that should be good (right after a login it may not be stored yet).
UNAUTHORIZED_PAUSES_S = (0.5, 1.5)
#: So often one call replaces a token. Logins of a user in the same second have the same one, and whoever logs out first ends it for
#: all of them: when two runs end their steps together, it may be lost again before it was used.
MOST_RENEWALS = 3
#: Pauses before the next try of a login that got no answer, 429 or 5xx.
LOGIN_PAUSES_S = (0.5, 1.0, 2.0)
#: A host that does not even open a connection in this time is given up, whatever the time-out for answers.
CONNECT_TIMEOUT_S = 10.0
#: A logout is a courtesy.
LOGOUT_TIMEOUT_S = 5.0

#: Options that describe the connection to a cluster; documented in the doc fragment `pai`.
CONNECTION_SPEC: dict[str, Any] = {
    "address": {"type": "str", "required": True},
    "token": {"type": "str", "no_log": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca_file": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout_s": {"type": "float", "default": 30.0},
}

_PREFIX = "/rest-server"
_INFO = "/api/v2/info"
#: The port of a rest-server without pylon in front.
_PLAIN_PORT = 9186


class PaiError(GoldenJobsError):
    """A request that failed.

    `status`: HTTP status, 0 when there was no answer. `code`: the server's symbolic code, often empty.
    `transient`: the same request may work later (no answer, 429, 5xx). `retry_after_s`: what a 429 or 503 asked for, else 0.
    """

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", transient: bool = False, retry_after_s: float = 0.0, **details: Any
    ) -> None:
        super().__init__(message, status=status, code=code, **details)
        self.status = status
        self.code = code
        self.transient = transient
        self.retry_after_s = retry_after_s


class _PaiRetry(Retry):
    """urllib3's Retry for a server whose `Retry-After` is always the whole window: `X-RateLimit-Reset` says when it ends."""

    def get_retry_after(self, response: Any) -> float | None:
        reset = response.headers.get("X-RateLimit-Reset", "")
        if response.status == 429 and reset.isdigit():
            sent = email.utils.parsedate_to_datetime(response.headers["Date"]).timestamp() if response.headers.get("Date") else time.time()
            return max(float(reset) - sent, 1.0)
        return super().get_retry_after(response)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: Any = None,
        error: Exception | None = None,
        _pool: Any = None,
        _stacktrace: Any = None,
    ) -> Any:
        if response is not None and (self.get_retry_after(response) or 0) > RATE_LIMIT_WAIT_S:
            raise MaxRetryError(_pool, url or "", ResponseError("the wait is too long"))  # the answer is handed on as it is
        return super().increment(method, url, response, error, _pool, _stacktrace)


class PaiSession:
    """One cluster and one user. Nothing is sent before the first call; the login happens when a token is first needed.

    A context manager: at the end a token that was made here is given back (every login stores another one for a week).
    `hasty`: whoever only looks tries an odd answer once more, but not a cluster that gives none.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        username: str | None = None,
        password: str | None = None,
        ca_file: str | None = None,
        validate_certs: bool = True,
        timeout_s: float = 30.0,
        retries: int = 4,
        hasty: bool = False,
    ) -> None:
        if requests is None:
            raise GoldenJobsError("The Python package requests is missing where this module runs: pip install requests.")
        parts = _split_address(address)
        if not token and not (username and password):
            raise GoldenJobsError(f"No login for the cluster {address}: give a token, or a user name and a password.")
        if ca_file and not os.path.exists(ca_file):
            raise GoldenJobsError(f"The CA file {ca_file} for the cluster {address} does not exist where this module runs.")
        #: As given, without trailing slash and without pylon's prefix; what error messages name.
        self.address = re.sub(rf"({_PREFIX})?(/api(/v[12])?)?/*$", "", address.rstrip("/"))
        given = _PREFIX in parts.path
        self._prefixes = ["", _PREFIX] if parts.port == _PLAIN_PORT and not given else [_PREFIX, ""]
        self._base: str | None = None
        self._info: dict[str, Any] = {}
        self._token = token
        self._username = username
        self._password = password
        self._logged_in = False
        self._accepted = False  # whether the server has taken the token before
        self._timeout_s = timeout_s
        self._login_pauses_s = LOGIN_PAUSES_S[:1] if hasty else LOGIN_PAUSES_S
        self._hasty = hasty
        self._local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        # Passed with each request: requests prefers REQUESTS_CA_BUNDLE to what a session says. None follows the environment.
        self._verify: str | bool | None = False if not validate_certs else ca_file or None
        if not validate_certs:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        # POST is not among them: see `pai_submit.py`.
        self._patient = self._new_session(
            _PaiRetry(
                total=1 if hasty else retries,
                connect=0 if hasty else min(retries, 3),
                read=0 if hasty else min(retries, 1),  # a server that hangs costs a whole time-out each time
                other=0,  # a certificate that is not trusted
                backoff_factor=0.5,
                status_forcelist=(429, 500, 502, 503, 504),
                allowed_methods=("GET", "PUT", "DELETE"),
                raise_on_status=False,
            )
        )
        self._once = self._new_session(0)

    def _new_session(self, retry: Any) -> Any:
        session = requests.Session()
        session.trust_env = not self._local  # a proxy is no way to this machine
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        return session

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Log out where this session logged in; never fails."""
        if self._logged_in and self._token and self._base:
            with contextlib.suppress(GoldenJobsError):
                self._send("DELETE", f"{self._base}/api/v2/authn/basic/logout", once=True, auth=self._sign, timeout=LOGOUT_TIMEOUT_S)
            self._token, self._logged_in = None, False
        self._patient.close()
        self._once.close()

    # ---------------------------------------------------------------------------------------------- calls

    def info(self) -> dict[str, Any]:
        """`{name, version, launcherType, authnMethod}`; the version may be null. Needs no token."""
        if not self._info:
            self._find_base()
        return self._info

    def call(self, method: str, path: str, *, once: bool = False, **options: Any) -> Any:
        """One API call with the token: the parsed JSON, or the text of anything else.

        `once`: do not try again when there is no answer, a 429 or a 5xx (whoever polls tries again anyway).
        A 401 is tried again: right after a login the token may not be stored yet, and any trouble of the server
        while it checks a token looks like a bad token. With a password, a token is replaced that has expired, that the server
        lost because two of its writes crossed, or that another run of the same user has given back.
        """
        renewals = MOST_RENEWALS if self._password else 0
        pauses = iter(UNAUTHORIZED_PAUSES_S)
        while True:
            self._login()
            answer = self._send(method, f"{self._base or self._find_base()}/api/v2{path}", once=once, auth=self._sign, **options)
            if answer.status_code != 401:
                self._accepted = True
                break
            expired = self._accepted or not self._logged_in
            pause_s = None if renewals and expired else next(pauses, None)
            if pause_s is not None:
                time.sleep(pause_s)
            elif renewals:
                self._token, renewals, pauses = None, renewals - 1, iter(UNAUTHORIZED_PAUSES_S)
            else:
                break
        if answer.ok:
            return _json_or_text(answer)
        raise self._error(answer)

    def call_or_none(self, method: str, path: str, **options: Any) -> Any:
        """`call`, with None for a 404."""
        try:
            return self.call(method, path, **options)
        except PaiError as error:
            if error.status == 404:
                return None
            raise

    def fetch(self, uri: str) -> str | None:
        """The text at an address that the cluster gave (a path is one of pylon and brings its own token); None for any failure."""
        root = (self._base or self._find_base()).removesuffix(_PREFIX)
        answer = self._send("GET", urllib.parse.urljoin(root + "/", uri), once=True)
        return str(answer.text) if answer.ok else None

    # ---------------------------------------------------------------------------------- address and login

    def _find_base(self) -> str:
        """`<address>/rest-server` behind pylon, `<address>` for a plain rest-server: where `/api/v2/info` answers as PAI."""
        if self._base is None or not self._info:
            failure = None
            for prefix in self._prefixes:
                answer = self._send("GET", f"{self.address}{prefix}{_INFO}")
                info = _json_or_text(answer)
                if answer.ok and isinstance(info, dict) and "authnMethod" in info:
                    # Pylon with TLS redirects: everything else goes to the address behind it at once, nothing in the clear.
                    self._base, self._info = self._same_host(answer.url).removesuffix(_INFO), info
                    return self._base
                if answer.status_code >= 500 or answer.status_code == 429:
                    failure = failure or self._error(answer)
            raise failure or PaiError(
                f"{self.address} answers, but not as OpenPAI (HTTP {answer.status_code} for {_INFO}); give the address of the "
                "cluster's web portal or of its rest-server."
            )
        return self._base

    def _same_host(self, url: str) -> str:
        if urllib.parse.urlsplit(url).hostname != urllib.parse.urlsplit(self.address).hostname:
            raise PaiError(f"The cluster {self.address} redirects to {url}; give that address if it is the right one.")
        return url

    def _login(self) -> None:
        """Get a token if there is none."""
        if self._token:
            return
        answer = self._login_at_once()
        if answer is None:
            base = self._find_base()
            if self._info.get("authnMethod") == "OIDC":
                raise PaiError(
                    f"The cluster {self.address} uses OIDC, which has no password login: make an application token on your profile page "
                    "in its web portal and give that as the token."
                )
            answer = self._post_login(base)
        body = _json_or_text(answer)
        code = body.get("code", "") if isinstance(body, dict) else ""
        if answer.ok and isinstance(body, dict) and body.get("token"):
            self._token, self._logged_in, self._accepted = str(body["token"]), True, False
            return
        if code == "NoUserError":
            raise PaiError(f"The cluster {self.address} knows no user {self._username!r}; names are case-sensitive.", status=400, code=code)
        if code in ("IncorrectPasswordError", "InvalidParametersError"):
            raise PaiError(f"The cluster {self.address} refuses the password of {self._username!r}.", status=answer.status_code, code=code)
        raise self._error(answer)

    def _login_at_once(self) -> Any:
        """The answer of a login that saves the question where the API is; None when that has to be asked first.

        Not over a network in the clear: what redirects to TLS shall not see the password before.
        """
        if self._base or not (self._local or self.address.startswith("https://")):
            return None
        base = self.address + self._prefixes[0]
        answer = self._post_login(base)
        body = _json_or_text(answer)
        known = isinstance(body, dict) and (body.get("token") or body.get("code") not in (None, "", "NoApiError"))
        if not known or answer.history:
            return None
        self._base = base
        return answer

    def _post_login(self, base: str) -> Any:
        """A second login does no harm, so this POST is tried again like a GET."""
        for pause_s in (*self._login_pauses_s, None):
            try:
                answer = self._send(
                    "POST", f"{base}/api/v2/authn/basic/login", json={"username": self._username, "password": self._password}
                )
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                error = self._error(answer)
            except PaiError as failure:
                error = failure
            silent = self._hasty and not error.status
            if pause_s is None or not error.transient or silent or error.retry_after_s > RATE_LIMIT_WAIT_S:
                raise error
            time.sleep(max(pause_s, error.retry_after_s))
        raise AssertionError("unreachable")

    def _sign(self, request: Any) -> Any:
        """requests' `auth`: with a plain header, an entry of ~/.netrc would replace the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    # -------------------------------------------------------------------------------------------- one exchange

    def _send(self, method: str, url: str, *, once: bool = False, **options: Any) -> Any:
        """One HTTP exchange (with the session's retries); PaiError when there is no answer."""
        session = self._once if once else self._patient
        options = {"timeout": (min(CONNECT_TIMEOUT_S, self._timeout_s), self._timeout_s), "verify": self._verify, **options}
        try:
            return session.request(method, url, **options)
        except requests.exceptions.SSLError as error:
            raise PaiError(
                f"The certificate of {self.address} is not trusted ({reason(error)}); give the CA that signed it as ca_file."
            ) from None
        except (requests.RequestException, OSError) as error:
            if any(isinstance(cause, (TimeoutError, requests.exceptions.Timeout)) for cause in causes(error)):
                raise PaiError(f"The cluster {self.address} did not answer within {self._timeout_s:g} s.", transient=True) from None
            raise PaiError(f"The cluster {self.address} cannot be reached: {reason(error)}.", transient=True) from None

    def _error(self, answer: Any) -> PaiError:
        """The sentence for an answer that is no success."""
        body = _json_or_text(answer)
        code = str(body.get("code") or "") if isinstance(body, dict) else ""
        text = str(body.get("message") or "") if isinstance(body, dict) else " ".join(str(body).split())[:200]
        status = answer.status_code
        after_s = _PaiRetry().get_retry_after(_Headers(answer)) or 0.0 if status in (429, 503) else 0.0
        if status == 401 and self._logged_in:
            message = f"The cluster {self.address} does not accept the login of {self._username!r}, not even a new one."
        elif status == 401:
            message = (
                f"The cluster {self.address} does not accept the token: it is wrong, expired or revoked; "
                "make a new application token on your profile page in its web portal."
            )
        elif status == 429:
            message = f"The cluster {self.address} limits the rate of requests; try again in {_duration(after_s or 1.0)}."
        else:
            what = "refuses this" if status < 500 else "has an internal error"
            reason = _first_schema_error(text) or text or answer.reason
            message = f"The cluster {self.address} {what} (HTTP {status}{' ' + code if code else ''}): {str(reason).rstrip('.')}."
        return PaiError(message, status=status, code=code, transient=status == 429 or status >= 500, retry_after_s=after_s)


class _Headers:
    """An answer of requests in the form that urllib3's Retry reads."""

    def __init__(self, answer: Any) -> None:
        self.headers, self.status = answer.headers, answer.status_code


def _split_address(address: str) -> urllib.parse.SplitResult:
    """The parts of a cluster's address; GoldenJobsError for what is no URL."""
    allowed = "write http:// or https:// and a host, as in https://pai.example.com"
    try:
        parts = urllib.parse.urlsplit(address)
        # A port that is no number is a ValueError.
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and not (parts.query or parts.fragment):
            if parts.username or parts.password:
                raise GoldenJobsError(
                    f"The cluster address at {parts.hostname} holds a user name; give it as username and password, not in the URL."
                )
            return parts
    except ValueError:
        pass
    raise GoldenJobsError(f"The cluster address {address!r} is not a URL; {allowed}.")


def _json_or_text(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text


def _first_schema_error(text: str) -> str:
    """A schema failure is a JSON list inside the message; its first entry as text, else nothing."""
    try:
        first = json.loads(text)[0]
        return f"{first['dataPath']} {first['message']}".strip()
    except (ValueError, LookupError, TypeError):
        return ""


def _duration(value_s: float) -> str:
    return f"{value_s:.0f} s" if value_s < 120 else f"{value_s / 60:.0f} min"

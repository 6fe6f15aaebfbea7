"""Talks to one OpenPAI cluster (rest-server API v2), knowing what the real server does.

One `PaiClient` is one cluster and one user. Every failure is a `PaiError`: one sentence that names the
cluster's address. What the server does and why is in OpenPAI's sources at v1.8.1; where a method works
around it, its comment says so.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import json
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from .errors import GoldenJobsError
from .protocol import load_text

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry
except ImportError:  # reported as one sentence by `PaiClient`
    requests = None  # type: ignore[assignment]
    Retry = object  # type: ignore[assignment,misc]

#: Longest wait that a 429 may impose on one request; a window of the server's limits has 60 s.
RATE_LIMIT_WAIT_S = 65
#: Pauses before the next try after a 401 (right after a login a token may not be stored yet).
UNAUTHORIZED_PAUSES_S = (0.5, 1.5)
#: Pauses before a submit is looked up and, if it is not there, sent again.
SUBMIT_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
#: A host that does not even open a connection in this time is given up, whatever the time-out for answers.
CONNECT_TIMEOUT_S = 10.0
#: Jobs per page of a listing; the server's own default.
PAGE_SIZE = 5000

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


class PaiError(GoldenJobsError):
    """A request that failed.

    `status`: HTTP status, 0 when there was no answer. `code`: the server's symbolic code, often empty.
    `transient`: the same request may work later (no answer, 429, 5xx).
    """

    def __init__(self, message: str, *, status: int = 0, code: str = "", transient: bool = False, **details: Any) -> None:
        super().__init__(message, status=status, code=code, **details)
        self.status = status
        self.code = code
        self.transient = transient


class _PaiRetry(Retry):
    """urllib3's Retry that waits for `X-RateLimit-Reset`: the server's `Retry-After` is always the whole window."""

    def get_retry_after(self, response: Any) -> float | None:
        reset = response.headers.get("X-RateLimit-Reset", "")
        if response.status == 429 and reset.isdigit():
            sent = email.utils.parsedate_to_datetime(response.headers["Date"]).timestamp() if response.headers.get("Date") else time.time()
            return min(max(float(reset) - sent, 1.0), RATE_LIMIT_WAIT_S)
        after = super().get_retry_after(response)
        return None if after is None else min(after, RATE_LIMIT_WAIT_S)


class PaiClient:
    """See the module's text. Nothing is sent before the first call; the login happens when a token is first needed."""

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
    ) -> None:
        if requests is None:
            raise GoldenJobsError("The Python package requests is missing where this module runs: pip install requests.")
        parts = urllib.parse.urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GoldenJobsError(
                f"The cluster address {address!r} is not a URL; write http:// or https:// and a host, as in https://pai.example.com."
            )
        if not token and not (username and password):
            raise GoldenJobsError(f"No login for the cluster {address}: give a token, or a user name and a password.")
        #: As given, without trailing slash and without pylon's prefix; what error messages name.
        self.address = address.rstrip("/").removesuffix("/rest-server").rstrip("/")
        self._prefixes = ["/rest-server"] if address.rstrip("/").endswith("/rest-server") else ["/rest-server", ""]
        self._base: str | None = None
        self._info: dict[str, Any] = {}
        self._token = token
        self._username = username
        self._password = password
        self._logged_in = False
        self._user: dict[str, Any] | None = None
        self._timeout_s = timeout_s
        self._session = requests.Session()
        self._session.verify = ca_file if ca_file and validate_certs else validate_certs
        if parts.hostname in ("localhost", "127.0.0.1", "::1"):
            self._session.trust_env = False  # a proxy is no way to this machine
        # POST is not among them: see `submit`.
        retry = _PaiRetry(
            total=retries,
            connect=min(retries, 3),
            read=min(retries, 1),  # a server that hangs costs a whole time-out each time
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "PUT", "DELETE"),
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    # ----------------------------------------------------------------------------------- who and what

    def info(self) -> dict[str, Any]:
        """`{name, version, launcherType, authnMethod}`; the version may be null. Needs no token."""
        self._find_base()
        return self._info

    def whoami(self) -> dict[str, Any]:
        """`{username, admin, virtual_clusters: [granted to me], application: bool}`, asked once."""
        if self._user is None:
            try:
                checked = self._call("GET", "/tokens/check")
            except PaiError as error:
                if error.status != 404:
                    raise
                checked = self._token_payload()  # OpenPAI before 1.6
            user = self._call("GET", f"/users/{urllib.parse.quote(checked['username'], safe='')}")
            self._user = {
                "username": checked["username"],
                "admin": bool(user.get("admin")),
                "virtual_clusters": sorted(user.get("virtualCluster") or []),
                "application": bool(checked.get("application")),
            }
        return self._user

    @property
    def user(self) -> str:
        """The name of the user whom the token belongs to."""
        return str(self.whoami()["username"])

    def require_virtual_cluster(self, name: str) -> None:
        """Raise unless the virtual cluster is granted to me; the server itself answers a 403 only when it is too late."""
        granted = self.whoami()["virtual_clusters"]
        if name not in granted:
            raise PaiError(
                f"The virtual cluster {name!r} does not exist on {self.address} or is not granted to {self.user}; "
                f"granted: {', '.join(granted) or 'none'}.",
                status=403,
            )

    # ------------------------------------------------------------------------------------------- jobs

    def list_jobs(self, **filters: str | list[str] | None) -> list[dict[str, Any]]:
        """All jobs that match, newest first. Filters as the server names them: `username`, `vc`, `state`,
        `keyword` (substring of user, job or virtual cluster), `tagsContain` (any of them), `tagsNotContain`.
        """
        query = {key: ",".join(value) if isinstance(value, list) else value for key, value in filters.items() if value}
        jobs: list[dict[str, Any]] = []
        offset = 0
        while True:
            page = self._call("GET", "/jobs", params={**query, "offset": offset, "limit": PAGE_SIZE, "withTotalCount": "true"})
            if isinstance(page, list):  # OpenPAI before 1.2 has neither paging nor a count
                return page
            jobs.extend(page["data"])
            offset += PAGE_SIZE  # not the page's length: the server drops rows after it has cut the page
            if offset >= page["totalCount"]:
                return jobs

    def get_job(self, name: str, user: str | None = None) -> dict[str, Any] | None:
        """The job's detail, or None when there is no such job. `taskRoles` is `{}` right after a submit."""
        return self._or_none("GET", self._job_path(name, user))

    def get_config(self, name: str, user: str | None = None) -> dict[str, Any] | None:
        """The job as submitted with `secrets` masked, or None. The server says YAML and sends JSON."""
        text = self._or_none("GET", self._job_path(name, user) + "/config")
        if not isinstance(text, str):
            return text
        return load_text(text, f"config of {name} on {self.address}")[0]

    def events(self, name: str, user: str | None = None) -> list[dict[str, Any]]:
        """Warnings about the job, newest first: `{reason, message, taskroleName, taskIndex, ...}`; empty before 1.3."""
        answer = self._or_none("GET", self._job_path(name, user) + "/events", params={"type": "Warning"})
        return list(answer.get("data") or []) if isinstance(answer, dict) else []

    def log_tail(self, container_log: str, lines: int = 20) -> list[str]:
        """The last lines that a task wrote; empty whenever they cannot be had (a log is never worth a failure)."""
        with contextlib.suppress(GoldenJobsError, KeyError, TypeError, requests.RequestException):
            path = container_log.removeprefix("/rest-server").removeprefix("/api/v2")
            files = {item["name"]: item["uri"] for item in self._call("GET", path, params={"tail-mode": "true"})["locations"]}
            uri = files.get("all") or files.get("stdout") or next(iter(files.values()))
            # A path is one of pylon, not of rest-server, and brings its own token.
            answer = self._session.get(urllib.parse.urljoin(self.address + "/", uri), timeout=self._timeout_s)
            if answer.ok:
                return answer.text.splitlines()[-lines:]
        return []

    def submit(self, name: str, yaml_text: str, is_mine: Any = None) -> None:
        """Submit a job exactly once.

        `is_mine(name) -> bool`: does the job of that name on the cluster hold what is sent here? It is asked after an
        answer that leaves open whether the job was made (lost connection, 5xx, 404) and after a 409 that follows one.
        Raises PaiError; status 409 when the name is taken by something else.
        """
        unclear: PaiError | None = None
        for pause_s in (*SUBMIT_PAUSES_S, None):
            try:
                self._call("POST", "/jobs", data=yaml_text.encode(), headers={"Content-Type": "text/yaml"})
                return
            except PaiError as error:
                if error.status == 409 and is_mine and is_mine(name):
                    return
                # 404: seen by users for a job that was made (microsoft/pai #5769); a storage that is missing has its own code.
                if not error.transient and not (error.status == 404 and error.code in ("", "NoJobError", "NoApiError")):
                    raise self._submit_error(name, error) from None
                if pause_s is None:
                    raise self._submit_error(name, error) from None
                unclear = error
            time.sleep(max(pause_s, unclear.details.get("retry_after_s", 0)))
            if unclear.status != 429 and is_mine and is_mine(name):
                return

    def stop(self, name: str) -> None:
        """Ask for a stop of my job. Only for a job that is not final: the server answers a stop of a final one with a 500."""
        self._call("PUT", self._job_path(name) + "/executionType", json={"value": "STOP"})

    def add_tag(self, name: str, tag: str) -> None:
        """Add a tag to my job; one that is there already is fine."""
        self._call("PUT", self._job_path(name) + "/tag", json={"value": tag})

    def remove_tag(self, name: str, tag: str) -> None:
        """Remove a tag from my job; one that is not there is fine (the server says 404)."""
        try:
            self._call("DELETE", self._job_path(name) + "/tag", json={"value": tag})
        except PaiError as error:
            if error.code != "NoTagError":
                raise

    # ---------------------------------------------------------------------------------------- requests

    def _job_path(self, name: str, user: str | None = None) -> str:
        return "/jobs/" + urllib.parse.quote(f"{user or self.user}~{name}", safe="~")

    def _or_none(self, method: str, path: str, **options: Any) -> Any:
        try:
            return self._call(method, path, **options)
        except PaiError as error:
            if error.status == 404:
                return None
            raise

    def _call(self, method: str, path: str, **options: Any) -> Any:
        """One API call with the token: the parsed JSON, or the text of anything else.

        A 401 is tried again: right after a login the token may not be stored yet, and any trouble of the server
        while it checks a token looks like a bad token. With a password, a token that has expired is replaced.
        """
        for pause_s in (*UNAUTHORIZED_PAUSES_S, None):
            fresh = self._login()
            headers = {**options.get("headers", {}), "Authorization": f"Bearer {self._token}"}
            answer = self._send(method, self._find_base() + "/api/v2" + path, **{**options, "headers": headers})
            if answer.status_code != 401 or pause_s is None:
                break
            time.sleep(pause_s)
            if self._logged_in and not fresh:
                self._token = None
        if answer.ok:
            return _json_or_text(answer)
        raise self._error(answer)

    def _find_base(self) -> str:
        """`<address>/rest-server` behind pylon, `<address>` for a plain rest-server: where `/api/v2/info` answers as PAI."""
        if self._base is None:
            for prefix in self._prefixes:
                answer = self._send("GET", f"{self.address}{prefix}/api/v2/info")
                info = _json_or_text(answer)
                if answer.ok and isinstance(info, dict) and "authnMethod" in info:
                    self._base, self._info = self.address + prefix, info
                    return self._base
            if answer.status_code >= 500 or answer.status_code == 429:
                raise self._error(answer)
            raise PaiError(
                f"{self.address} answers, but not as OpenPAI (HTTP {answer.status_code} for /api/v2/info); give the address of the "
                "cluster's web portal or of its rest-server."
            )
        return self._base

    def _login(self) -> bool:
        """Get a token if there is none; True when it was made just now."""
        if self._token:
            return False
        base = self._find_base()
        if self._info.get("authnMethod") == "OIDC":
            raise PaiError(
                f"The cluster {self.address} uses OIDC, which has no password login: make an application token on your profile page "
                "in its web portal and give that as the token."
            )
        # A second login does no harm, so this POST is tried again like a GET.
        for pause_s in (0.5, 1.0, 2.0, None):
            try:
                answer = self._send(
                    "POST", f"{base}/api/v2/authn/basic/login", json={"username": self._username, "password": self._password}
                )
                if answer.status_code < 500 and answer.status_code != 429:
                    break
                error = self._error(answer)
            except PaiError as failure:
                error = failure
            if pause_s is None:
                raise error
            time.sleep(max(pause_s, error.details.get("retry_after_s", 0)))
        body = _json_or_text(answer)
        code = body.get("code", "") if isinstance(body, dict) else ""
        if answer.ok and isinstance(body, dict) and body.get("token"):
            self._token, self._logged_in = str(body["token"]), True
            return True
        if code == "NoUserError":
            raise PaiError(f"The cluster {self.address} knows no user {self._username!r}; names are case-sensitive.", status=400, code=code)
        if code in ("IncorrectPasswordError", "InvalidParametersError"):
            raise PaiError(f"The cluster {self.address} refuses the password of {self._username!r}.", status=answer.status_code, code=code)
        raise self._error(answer)

    def _send(self, method: str, url: str, **options: Any) -> Any:
        """One HTTP exchange (with the session's retries); PaiError when there is no answer."""
        try:
            return self._session.request(method, url, timeout=(min(CONNECT_TIMEOUT_S, self._timeout_s), self._timeout_s), **options)
        except requests.exceptions.SSLError as error:
            raise PaiError(
                f"The certificate of {self.address} is not trusted ({_reason(error)}); give the CA that signed it as `ca_file`."
            ) from None
        except (requests.RequestException, OSError) as error:
            if any(isinstance(cause, (TimeoutError, requests.exceptions.Timeout)) for cause in _causes(error)):
                raise PaiError(f"The cluster {self.address} did not answer within {self._timeout_s:g} s.", transient=True) from None
            raise PaiError(f"The cluster {self.address} cannot be reached: {_reason(error)}.", transient=True) from None

    def _error(self, answer: Any) -> PaiError:
        """The sentence for an answer that is no success."""
        body = _json_or_text(answer)
        code = str(body.get("code") or "") if isinstance(body, dict) else ""
        text = str(body.get("message") or "") if isinstance(body, dict) else " ".join(str(body).split())[:200]
        status = answer.status_code
        details: dict[str, Any] = {}
        if status == 401:
            who = f"the login of {self._username!r}" if self._logged_in else "the token"
            message = f"The cluster {self.address} does not accept {who}: it is wrong, expired or revoked."
        elif status == 429:
            details["retry_after_s"] = _PaiRetry().get_retry_after(_Headers(answer)) or 1.0
            message = f"The cluster {self.address} limits the rate of requests; try again in {details['retry_after_s']:.0f} s."
        else:
            what = "refuses this" if status < 500 else "has an internal error"
            reason = _first_schema_error(text) or text or answer.reason
            message = f"The cluster {self.address} {what} (HTTP {status}{' ' + code if code else ''}): {str(reason).rstrip('.')}."
        return PaiError(message, status=status, code=code, transient=status == 429 or status >= 500, **details)

    def _submit_error(self, name: str, error: PaiError) -> PaiError:
        if error.status == 409:
            message = f"The job name {name!r} is already used on {self.address}; OpenPAI never frees a name, choose another."
        elif error.status == 403 and "not allowed to do operation in" in str(error):
            vc = str(error).rsplit(" ", 1)[-1].rstrip(".")
            message = f"The virtual cluster {vc!r} does not exist on {self.address} or is not granted to {self.user}."
        elif error.transient:
            message = f"The job {name!r} could not be submitted and was not made: {error}"
        else:
            return error
        return PaiError(message, status=error.status, code=error.code, transient=error.transient)

    def _token_payload(self) -> dict[str, Any]:
        """What the token says about itself (a JWT, not verified here: the server has just accepted it)."""
        try:
            payload = (self._token or "").split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return {"username": str(claims["username"]), "application": bool(claims.get("application"))}
        except (IndexError, KeyError, ValueError):
            raise PaiError(f"The token for {self.address} does not name its user; give a token made by this cluster.") from None


class _Headers:
    """An answer of requests in the form that urllib3's Retry reads."""

    def __init__(self, answer: Any) -> None:
        self.headers, self.status = answer.headers, answer.status_code


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


def _reason(error: BaseException) -> str:
    """The innermost cause as a short text: `Connection refused` and not five nested class names."""
    *_, last = _causes(error)
    return (getattr(last, "strerror", None) or str(last) or type(last).__name__).rstrip(".")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: Any = error
    while isinstance(current, BaseException) and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = [arg for arg in current.args if isinstance(arg, BaseException)]
        current = getattr(current, "reason", None) or (inner[-1] if inner else None) or current.__cause__ or current.__context__

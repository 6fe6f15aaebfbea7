"""The calls of OpenPAI's REST API v2 that this project makes, in the words of jobs."""

from __future__ import annotations

import base64
import contextlib
import json
import urllib.parse
from typing import Any

from .errors import GoldenJobsError
from .pai_session import CONNECTION_SPEC, PaiError, PaiSession
from .protocol import load_text

__all__ = ["CONNECTION_SPEC", "PaiClient", "PaiError", "client_of"]

#: Jobs per page of a listing. The server's default is 5000, its maximum 50000.
PAGE_SIZE = 10_000


def client_of(params: dict[str, Any]) -> PaiClient:
    """The client that a module's connection options describe."""
    return PaiClient(**{key: params[key] for key in CONNECTION_SPEC})


class PaiClient(PaiSession):
    """One cluster and one user; see `PaiSession` for the connection."""

    _user_data: dict[str, Any] | None = None
    _user_name: str | None = None

    # ----------------------------------------------------------------------------------- who and what

    @property
    def user(self) -> str:
        """The name of the user whom the token belongs to."""
        if self._user_name is None:
            self._login()
            self._user_name = _token_user(self._token) or self._checked_user()
        return self._user_name

    def _checked_user(self) -> str:
        answer = self.call_or_none("GET", "/tokens/check")  # since OpenPAI 1.6
        if not isinstance(answer, dict) or not answer.get("username"):
            raise PaiError(f"The token for {self.address} does not name its user; give a token made by this cluster.")
        return str(answer["username"])

    def whoami(self) -> dict[str, Any]:
        """`{username, admin, virtual_clusters: [granted to me]}`, asked once."""
        if self._user_data is None:
            found = self.call("GET", f"/users/{urllib.parse.quote(self.user, safe='')}")
            self._user_data = {
                "username": self.user,
                "admin": bool(found.get("admin")),
                "virtual_clusters": sorted(found.get("virtualCluster") or []),
            }
        return self._user_data

    def require_virtual_cluster(self, name: str) -> None:
        """Raise unless the virtual cluster is granted to me; the server itself answers a 403 only when it is too late."""
        granted = self.whoami()["virtual_clusters"]
        if name not in granted:
            raise PaiError(
                f"The virtual cluster {name!r} does not exist on {self.address} or is not granted to {self.user}; "
                f"granted: {', '.join(granted) or 'none'}.",
                status=403,
            )

    # ------------------------------------------------------------------------------------ reading jobs

    def list_jobs(
        self, *, limit: int | None = None, offset: int = 0, **filters: str | list[str] | None
    ) -> tuple[list[dict[str, Any]], int]:
        """Jobs that match, newest first, and how many there are without `limit` and `offset`.

        Filters as the server names them: `username`, `vc`, `state`, `keyword` (substring of user, job or virtual cluster),
        `tagsContain` (any of them), `tagsNotContain` (none of them). Without `limit`, all of them, page by page.
        """
        query = {key: ",".join(value) if isinstance(value, list) else value for key, value in filters.items() if value}
        jobs: list[dict[str, Any]] = []
        while True:
            size = min(PAGE_SIZE, PAGE_SIZE if limit is None else limit - len(jobs))
            page = self.call("GET", "/jobs", params={**query, "offset": offset, "limit": size, "withTotalCount": "true"})
            if isinstance(page, list):  # OpenPAI before 1.2 has neither paging nor a count
                return page[offset:][:limit], len(page)
            jobs.extend(page["data"])
            offset += size  # not the page's length: the server drops rows after it has cut the page
            if offset >= page["totalCount"] or (limit is not None and len(jobs) >= limit):
                return jobs, int(page["totalCount"])

    def get_job(self, name: str, user: str | None = None, *, once: bool = False) -> dict[str, Any] | None:
        """The job's detail, or None when there is no such job. `taskRoles` is `{}` right after a submit."""
        found: dict[str, Any] | None = self.call_or_none("GET", self._job_path(name, user), once=once)
        return found

    def get_config(self, name: str, user: str | None = None) -> dict[str, Any] | None:
        """The job as submitted with `secrets` masked, or None. The server says YAML and sends JSON."""
        text = self.call_or_none("GET", self._job_path(name, user) + "/config")
        if not isinstance(text, str):
            return text
        return load_text(text, f"config of {name} on {self.address}")[0]

    def warnings(self, name: str, user: str | None = None) -> list[dict[str, Any]]:
        """What Kubernetes warns about, newest first: `{reason, message, taskroleName, taskIndex, ...}`.

        Empty before OpenPAI 1.3 and whenever they cannot be had: they only explain something else.
        """
        with contextlib.suppress(PaiError):
            answer = self.call_or_none("GET", self._job_path(name, user) + "/events", once=True, params={"type": "Warning"})
            return list(answer.get("data") or []) if isinstance(answer, dict) else []
        return []

    def log_tail(self, container_log: str, lines: int = 20) -> list[str]:
        """The last lines that a task wrote; empty whenever they cannot be had (a log is never worth a failure).

        `container_log`: the task's `containerLog`, a path of the API since OpenPAI 1.4.
        """
        with contextlib.suppress(GoldenJobsError, KeyError, TypeError, StopIteration):
            path = container_log.removeprefix("/rest-server").removeprefix("/api/v2")
            answer = self.call("GET", path, once=True, params={"tail-mode": "true"}) if path.startswith("/jobs/") else {"locations": []}
            files = {item["name"]: item["uri"] for item in answer["locations"]}
            text = self.fetch(files.get("all") or files.get("stdout") or next(iter(files.values())))
            return (text or "").splitlines()[-lines:]
        return []

    # ----------------------------------------------------------------------------------- changing jobs

    def post_job(self, yaml_text: str) -> None:
        """Send a job once. For a submit that survives odd answers see `pai_submit.submit`."""
        answer = self.call("POST", "/jobs", data=yaml_text.encode(), headers={"Content-Type": "text/yaml"})
        if not isinstance(answer, dict) or answer.get("status") != 202:
            raise PaiError(f"The cluster {self.address} answers a submit with something that is no receipt.", transient=True)

    def stop(self, name: str) -> None:
        """Ask for a stop of my job; fine when it has ended meanwhile (the server may answer that with a 500)."""
        try:
            self.call("PUT", self._job_path(name) + "/executionType", json={"value": "STOP"})
        except PaiError as error:
            job = self.get_job(name) if error.status >= 500 else None
            if job is None or job["jobStatus"].get("subState") != "Completed":
                raise

    def add_tag(self, name: str, tag: str) -> None:
        """Add a tag to my job; one that is there already is fine."""
        self.call("PUT", self._job_path(name) + "/tag", json={"value": tag})

    def remove_tag(self, name: str, tag: str) -> None:
        """Remove a tag from my job; one that is not there is fine (the server says 404)."""
        try:
            self.call("DELETE", self._job_path(name) + "/tag", json={"value": tag})
        except PaiError as error:
            if error.code != "NoTagError":
                raise

    def _job_path(self, name: str, user: str | None = None) -> str:
        return "/jobs/" + urllib.parse.quote(f"{user or self.user}~{name}", safe="~")


def _token_user(token: str | None) -> str | None:
    """The user whom a token names (a JWT; whether it is genuine is for the server to say), None when it is none."""
    try:
        payload = (token or "").split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["username"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None

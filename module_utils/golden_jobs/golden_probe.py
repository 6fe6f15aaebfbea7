"""Asks a Golden Job whether it is fit for students. Four outcomes; only `healthy` lets it take over.

- `healthy`: every check got the answer that it wants;
- `unhealthy`: it answered, and not so; or the job has ended;
- `error`: it could not be asked (no connection, no answer in time, a certificate that is not trusted);
- `undecided`: neither. It has no address for the port, or a gateway answered in its place (429, 502, 503, 504).
"""

from __future__ import annotations

import hashlib
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import branding, golden_job, pai_detail
from .errors import GoldenJobsError
from .jupyter_kernel import CODE, EXPECTED, KernelTrouble, kernel_answers

try:
    import requests
except ImportError:  # `pai_session` says in one sentence what is missing
    requests = None  # type: ignore[assignment]

HEALTHY, UNHEALTHY, ERROR, UNDECIDED = "healthy", "unhealthy", "error", "undecided"
#: Answers of a gateway or of a server that still starts: they say nothing about the service.
_NOT_ITS_OWN = (429, 502, 503, 504)
#: Longest wait for one answer; a kernel may take longer to start.
ANSWER_TIMEOUT_S, KERNEL_TIMEOUT_S = 10.0, 60.0
_PAUSE_S = 0.25

#: Keys of a check; each check is HTTP (`path`) or a kernel (`kernel`).
CHECK_KEYS = ("port", "path", "status", "contains", "sha256", "file", "branding", "kernel", "code", "expected", "url")


class Outcome(NamedTuple):
    """`outcome` is one of the four, `reason` a part of a sentence."""

    outcome: str
    reason: str


class Way(NamedTuple):
    """How tasks are reached. `through`: `task` (its own address) or `pylon` (the proxy of the cluster at `pylon_address`)."""

    through: str = "task"
    pylon_address: str = ""
    verify: str | bool = True
    trust_env: bool = False


def check_checks(checks: list[dict[str, Any]], way: Way, root: str = ".", brand: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The checks with `file` and `branding` read into `sha256`; GoldenJobsError for one that cannot be asked.

    `brand`: the pictures that the course declares, by name; paths are relative to `root`.
    """
    if way.through not in ("task", "pylon"):
        raise GoldenJobsError(f"golden_job_probe_through is {way.through!r}; allowed: task, pylon.")
    ready = []
    for check in checks:
        unknown = sorted(set(check) - set(CHECK_KEYS))
        if unknown:
            raise GoldenJobsError(f"A probe in golden_job_probes has {unknown[0]!r}; allowed: {', '.join(CHECK_KEYS)}.")
        if bool(check.get("kernel")) == bool(check.get("path")):
            raise GoldenJobsError("Each probe in golden_job_probes has either a path or a kernel (true, or its name).")
        if check.get("kernel") and way.through == "pylon" and not check.get("url"):
            raise GoldenJobsError(
                "A probe in golden_job_probes asks for a kernel, which needs WebSockets, and pylon's proxy passes none; "
                "leave it out where golden_job_probe_through is pylon."
            )
        if check.get("file"):
            try:
                check = {**check, "sha256": hashlib.sha256((Path(root) / check["file"]).read_bytes()).hexdigest()}  # noqa: PLW2901
            except OSError as error:
                raise GoldenJobsError(f"The file {check['file']} of a probe cannot be read ({error.strerror}).") from None
        if check.get("branding"):
            path = (brand or {}).get(check["branding"])
            if check["branding"] not in branding.IMAGES or not path:
                raise GoldenJobsError(
                    f"A probe in golden_job_probes asks for the branding {check['branding']!r}; "
                    f"allowed is what branding or course_branding declares of {', '.join(branding.IMAGES)}."
                )
            sha256 = branding.served_sha256(check["branding"], str(Path(root) / path))
            check = {**check, "file": f"our {check['branding']} {path}", "sha256": sha256}  # noqa: PLW2901
        ready.append(check)
    return ready


def of_any_image(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that an image of any age has to pass: an earlier one shows the logo of its time."""
    return [check for check in checks if not check.get("branding")]


def probe(
    checks: list[dict[str, Any]],
    look: Callable[[], dict[str, Any] | None],
    way: Way,
    *,
    timeout_s: float,
    note: Callable[[str], None] = lambda _text: None,
) -> Outcome:
    """Ask again and again until every check is healthy in one round, the job has ended, or the time is over.

    `look` gives the job's detail, None when the cluster does not show it; `note` is told what is waited for.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        job = look()
        if job is not None and golden_job.is_final(job["jobStatus"]):
            code, meaning = pai_detail.exit_of(job)
            tail = pai_detail.diagnostics_tail(job)
            last = f"; its last line was: {tail[-1].strip()[:200]}" if tail else ""
            how = f" with exit code {code} ({meaning})" if code is not None else ""
            return Outcome(UNHEALTHY, f"the job ended as {job['jobStatus']['state']}{how}{last}")
        found = _round(checks, job, way)
        if found.outcome == HEALTHY or time.monotonic() >= deadline:
            return found
        note(f"{found.outcome}: {found.reason}")
        time.sleep(min(_PAUSE_S, max(0.05, deadline - time.monotonic())))


def _round(checks: list[dict[str, Any]], job: dict[str, Any] | None, way: Way) -> Outcome:
    """Every check once, until one is not healthy."""
    if job is None:
        return Outcome(UNDECIDED, "the cluster does not show the job")
    for check in checks:
        base = str(check.get("url") or _address(job, str(check.get("port") or "http"), way))
        if not base:
            return Outcome(UNDECIDED, f"no running task has an address for the port {check.get('port') or 'http'}")
        found = _kernel(check, base) if check.get("kernel") else _http(check, base, way)
        if found.outcome != HEALTHY:
            return found
    return Outcome(HEALTHY, f"{len(checks)} checks passed" if checks else "it runs")


def _address(job: dict[str, Any], port: str, way: Way) -> str:
    url = golden_job.task_url(pai_detail.tasks_of(job), port) or ""
    if not url or way.through == "task":
        return url
    # /a/<host>:<port>/ on pylon reaches every task from where only the cluster's front is reachable.
    return f"{way.pylon_address.rstrip('/')}/a/{urllib.parse.urlsplit(url).netloc}"


def _http(check: dict[str, Any], base: str, way: Way) -> Outcome:
    url = base.rstrip("/") + check["path"]
    try:
        with requests.Session() as session:
            session.trust_env = way.trust_env
            answer = session.get(url, timeout=ANSWER_TIMEOUT_S, verify=way.verify, headers={"Accept-Encoding": "identity"})
    except requests.RequestException as error:
        return Outcome(ERROR, f"{url} cannot be asked: {_no_answer(error)}")
    wanted = int(check.get("status") or 200)
    if answer.status_code != wanted:
        outcome = UNDECIDED if answer.status_code in _NOT_ITS_OWN else UNHEALTHY
        return Outcome(outcome, f"{url} answers with HTTP {answer.status_code} instead of {wanted}")
    if check.get("contains") and str(check["contains"]) not in answer.text:
        return Outcome(UNHEALTHY, f"{url} answers without {check['contains']!r}")
    if check.get("sha256") and hashlib.sha256(answer.content).hexdigest() != check["sha256"]:
        return Outcome(UNHEALTHY, f"{url} serves other bytes than {check.get('file') or 'sha256 ' + str(check['sha256'])[:12]}")
    return Outcome(HEALTHY, "")


def _no_answer(error: Exception) -> str:
    """The cause in a few words."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.exceptions.Timeout):
        return f"no answer within {ANSWER_TIMEOUT_S:.0f} s"
    return "Connection refused" if "refused" in str(error) else type(error).__name__


def _kernel(check: dict[str, Any], base: str) -> Outcome:
    name = check["kernel"] if isinstance(check["kernel"], str) else ""
    try:
        kernel_answers(
            base.rstrip("/"), name, str(check.get("code") or CODE), str(check.get("expected") or EXPECTED), timeout_s=KERNEL_TIMEOUT_S
        )
    except KernelTrouble as trouble:
        return Outcome(UNHEALTHY if trouble.asked else ERROR, str(trouble))
    return Outcome(HEALTHY, "")

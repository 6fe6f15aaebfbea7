"""The checks of image_test: which there are, whether they are well written, and one row of the result for each."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import image_check_command, image_check_config, image_check_file, image_check_http, image_check_port
from .engine import ENGINE_ERRORS
from .errors import GoldenJobsError
from .image_container import ImageContainer
from .progress import Progress, seconds
from .pulse import Pulse

CHECK_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "http": {"type": "str"},
    "command": {"type": "str"},
    "file": {"type": "str"},
    "log_without": {"type": "str"},
    "port": {"type": "int"},
    "user": {"type": "str"},
    "not_root": {"type": "bool"},
    "label": {"type": "dict"},
    "env_without_secret": {"type": "bool"},
    "status": {"type": "int"},
    "header": {"type": "dict"},
    "contains": {"type": "str"},
    "not_contains": {"type": "str"},
    "sha256": {"type": "str"},
    "same_as": {"type": "path"},
    "rc": {"type": "int"},
    "output": {"type": "str"},
    "as_user": {"type": "str"},
    "needs_server": {"type": "bool"},
    "exists": {"type": "bool"},
    "owner": {"type": "str"},
    "mode": {"type": "str"},
    "allow": {"type": "list", "elements": "str"},
    "timeout_s": {"type": "int", "default": 60},
}
#: Kind of check -> what may stand beside it.
KINDS: dict[str, frozenset[str]] = {
    "http": frozenset(["status", "header", "contains", "not_contains", "sha256", "same_as"]),
    "command": frozenset(["rc", "output", "contains", "not_contains", "as_user", "needs_server"]),
    "file": frozenset(["exists", "sha256", "same_as", "owner", "mode"]),
    "log_without": frozenset(),
    "port": frozenset(),
    "user": frozenset(),
    "not_root": frozenset(),
    "label": frozenset(),
    "env_without_secret": frozenset(["allow"]),
}
#: These need a container that runs.
NEED_RUNNING = frozenset(["http", "command", "port"])

#: Folders that the engine does not see from outside.
_INVISIBLE = ("/proc", "/sys", "/dev")
_OWNER = re.compile(r"[^\s:]+(:[^\s:]+)?")
_MODE = re.compile(r"0[0-7]{3,4}")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")


def kind(check: Mapping[str, Any]) -> str:
    """What a check looks at; GoldenJobsError when that is not exactly one thing."""
    kinds = [name for name in KINDS if check[name] is not None and check[name] is not False]
    if len(kinds) != 1:
        found = f" and has {', '.join(kinds)}" if kinds else ""
        *names, last = KINDS
        raise GoldenJobsError(f"The check {check['name']!r} needs exactly one of {', '.join(names)} and {last}{found}.")
    return kinds[0]


def validate(checks: Iterable[Mapping[str, Any]], port: int) -> None:
    """Refuse checks that cannot be run as they are written. `port`: the container's main port, 0 for none."""
    for check in checks:
        problem = _written_wrongly(check, kind(check), port)
        if problem:
            raise GoldenJobsError(f"The check {check['name']!r} {problem}.")


def find_files(checks: Iterable[Mapping[str, Any]]) -> None:
    """Refuse checks whose file on this host does not exist."""
    for check in checks:
        if check["same_as"] is not None and not os.path.isfile(check["same_as"]):
            raise GoldenJobsError(f"The check {check['name']!r}: the file {check['same_as']} to compare with does not exist on this host.")


def _written_wrongly(check: Mapping[str, Any], what: str, port: int) -> str | None:
    if check[what] in ("", {}):
        return f"has an empty {what}"
    beside = [name for name in CHECK_SPEC if name not in {*KINDS, "name", "timeout_s"} and check[name] is not None]
    alien = [name for name in beside if name not in KINDS[what]]
    if alien:
        allowed = ", ".join(name for name in CHECK_SPEC if name in KINDS[what])
        return f"has {alien[0]}, which does not go with {what}: {f'allowed are {allowed}' if allowed else 'nothing does'}"
    if check["timeout_s"] < 1:
        return f"has timeout_s {check['timeout_s']}: at least 1 second is allowed"
    return {"http": _http_wrong, "port": _port_wrong, "file": _file_wrong}.get(what, _nothing_wrong)(check, port) or _pattern_wrong(check)


def _nothing_wrong(check: Mapping[str, Any], port: int) -> str | None:
    return None


def _http_wrong(check: Mapping[str, Any], port: int) -> str | None:
    if not port:
        return "is an http check, but the module's option port is 0: set the port that serves it"
    if not check["http"].startswith("/"):
        return f"has the path {check['http']!r}: a path begins with /"
    return _sha256_wrong(check)


def _port_wrong(check: Mapping[str, Any], port: int) -> str | None:
    return None if 1 <= check["port"] <= 65535 else f"has port {check['port']}: 1 to 65535 are allowed"


def _file_wrong(check: Mapping[str, Any], port: int) -> str | None:
    path = check["file"]
    if not path.startswith("/"):
        return f"has the file {path!r}: a path in the container begins with /"
    if any(path == folder or path.startswith(f"{folder}/") for folder in _INVISIBLE):
        return f"has the file {path}: the engine does not show {', '.join(_INVISIBLE)} of a container, use a command"
    if check["exists"] is False and any(check[name] is not None for name in ("sha256", "same_as", "owner", "mode")):
        return "says that the file must not exist and what it has to be: one of both"
    if check["mode"] is not None and not _MODE.fullmatch(check["mode"]):
        return f"has the mode {check['mode']!r}: octal digits with a leading 0 in quotes are allowed, for example '0644'"
    if check["owner"] is not None and not _OWNER.fullmatch(check["owner"]):
        return f"has the owner {check['owner']!r}: a name or uid is allowed, with :group or :gid after it where wanted"
    return _sha256_wrong(check)


def _sha256_wrong(check: Mapping[str, Any]) -> str | None:
    if check["sha256"] is None or _SHA256.fullmatch(check["sha256"]):
        return None
    return f"has the sha256 {check['sha256']!r}: 64 hexadecimal digits are allowed"


def _pattern_wrong(check: Mapping[str, Any]) -> str | None:
    patterns = [check["log_without"], check["output"], *(check["header"] or {}).values(), *(check["label"] or {}).values()]
    for pattern in patterns:
        try:
            re.compile(str(pattern or ""))
        except re.error as error:
            return f"has {pattern!r}, which is no regular expression ({error})"
    return None


class Checks:
    """Runs the checks of one image on its container, in any number of threads."""

    def __init__(self, container: ImageContainer, image: Mapping[str, Any], progress: Progress) -> None:
        """`image`: as the engine describes it."""
        self._container = container
        self._config: Mapping[str, Any] = image.get("Config") or {}
        self._image_id = image["Id"]
        self._progress = progress
        #: `http://host:port` of the container's main port, for the checks that need the server.
        self.address: str | None = None

    def row(self, check: Mapping[str, Any]) -> dict[str, Any]:
        """`{name, kind, passed, detail, duration_s}`; whatever goes wrong is the check's failure."""
        started = time.monotonic()
        what = kind(check)
        with Pulse(self._progress, check["name"], "still runs"):
            try:
                problem = self._problem(what, check)
            except GoldenJobsError as error:
                problem = str(error).rstrip(".")
            except ENGINE_ERRORS as error:
                problem = f"it could not be run: {' '.join(str(error).split())}"
        return {
            "name": check["name"],
            "kind": what,
            "passed": problem is None,
            "detail": self._progress.masked(problem or "as expected"),
            "duration_s": round(time.monotonic() - started, 2),
        }

    def _problem(self, what: str, check: Mapping[str, Any]) -> str | None:
        container, config = self._container, self._config
        problems: dict[str, Callable[[], str | None]] = {
            "http": lambda: image_check_http.problem(str(self.address), check),
            "command": lambda: image_check_command.problem(container, check),
            "file": lambda: image_check_file.problem(container.files, check),
            "log_without": lambda: _log_problem(container.log(), check["log_without"]),
            "port": lambda: image_check_port.problem(container.host_port, check),
            "user": lambda: image_check_config.user_problem(config, container.files, check["user"]),
            "not_root": lambda: image_check_config.root_problem(config, container.files),
            "label": lambda: image_check_config.label_problem(config, check["label"]),
            "env_without_secret": lambda: image_check_config.secret_problem(
                config, container.engine.api.history(self._image_id), check["allow"] or []
            ),
        }
        return problems[what]()


def _log_problem(log: str, pattern: str) -> str | None:
    unwanted = re.compile(pattern)
    line = next((line for line in log.splitlines() if unwanted.search(line)), None)
    return None if line is None else f"the log has {line.strip()[:200]!r}"


def line(row: Mapping[str, Any], checks: Iterable[Mapping[str, Any]]) -> str:
    """A row for the terminal, in line with those of the other checks."""
    rows = list(checks)
    name = max(len(check["name"]) for check in rows)
    what = max(len(kind(check)) for check in rows)
    text = f"{'ok' if row['passed'] else 'FAILED':6}  {row['name']:{name}}  {row['kind']:{what}}  {seconds(row['duration_s']):>7}"
    return text if row["passed"] else f"{text}  {row['detail']}"

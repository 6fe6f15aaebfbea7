"""docker_daemon: daemon.json from a dictionary; validated before it is installed, reloaded where that is enough, and never during a build."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from . import engine_lock
from .engine import Engine
from .errors import GoldenJobsError
from .managed_files import write
from .progress import Progress, seconds

SPEC: dict[str, Any] = {
    "config": {"type": "dict", "required": True},
    "path": {"type": "path", "default": "/etc/docker/daemon.json"},
    "dockerd": {"type": "str", "default": "dockerd"},
    "pid_file": {"type": "path", "default": "/var/run/docker.pid"},
    "docker_host": {"type": "str", "default": "unix:///var/run/docker.sock"},
    "start_command": {"type": "list", "elements": "str", "default": ["systemctl", "start", "docker"]},
    "stop_command": {"type": "list", "elements": "str", "default": ["systemctl", "stop", "docker.socket", "docker"]},
    "log_command": {"type": "list", "elements": "str", "default": ["journalctl", "-u", "docker", "-n", "20", "-o", "cat", "--no-pager"]},
    "restart": {"type": "bool", "default": False},
    "build_wait_s": {"type": "int", "default": 900},
    "ready_timeout_s": {"type": "int", "default": 60},
}
#: What a running engine takes over on SIGHUP (docs.docker.com, dockerd, "Configuration reload behavior").
RELOADABLE = frozenset(
    [
        "allow-nondistributable-artifacts", "authorization-plugins", "containerd-namespace", "debug", "default-runtime", "features",
        "insecure-registries", "labels", "live-restore", "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts",
        "registry-mirrors", "runtimes", "shutdown-timeout",
    ]
)  # fmt: skip
#: Said by an engine's own program, and by nothing that merely could not listen.
_REFUSED = re.compile(r"unable to configure the Docker daemon.*|the following directives .*|.*validation failed.*", re.IGNORECASE)
_POLL_S = 0.2
_SPARE_BYTES = 1 << 30


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: what was done (`action`), which keys of the configuration changed, the data root."""
    daemon = _Daemon(module.params, progress)
    return daemon.bring(check_mode=module.check_mode)


def action_for(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, list[str]]:
    """`none`, `reload` or `restart`, and the keys that differ."""
    keys = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
    if not keys:
        return "none", []
    return ("reload" if set(keys) <= RELOADABLE else "restart"), keys


class _Daemon:
    def __init__(self, params: Mapping[str, Any], progress: Progress) -> None:
        self.params = params
        self.progress = progress
        self.wanted: dict[str, Any] = params["config"]
        self.dockerd = shutil.which(params["dockerd"])

    def bring(self, *, check_mode: bool) -> dict[str, Any]:
        before, text = self._written()
        self._validate()
        action, keys = action_for(before, self.wanted)
        pid = self._pid()
        if pid is None:
            action = "start"
        elif self.params["restart"]:
            action = "restart"
        result: dict[str, Any] = {
            "changed": action != "none",
            "action": action,
            "keys": keys,
            "data_root": self.wanted.get("data-root", "/var/lib/docker"),
            "diff": {
                "before_header": self.params["path"],
                "after_header": self.params["path"],
                "before": _shown(before) if text is not None else "",
                "after": _shown(self.wanted),
            },
        }
        if check_mode or action == "none":
            return result
        with engine_lock.alone(self.params["build_wait_s"], say=self.progress.say):
            moved = self._apply(action, text)
        if moved:
            result["old_data_root"] = moved
        return result

    # ------------------------------------------------------------------------------------------- what is there

    def _written(self) -> tuple[dict[str, Any], str | None]:
        """The configuration as it stands, and its text; a file that is no JSON counts as one that says nothing."""
        try:
            with open(self.params["path"], encoding="utf-8") as handle:
                text = handle.read()
        except FileNotFoundError:
            return {}, None
        try:
            found = json.loads(text)
        except ValueError:
            return {}, text
        return (found if isinstance(found, dict) else {}), text

    def _pid(self) -> int | None:
        """The engine's process, None where none runs; a pid file may be a killed engine's."""
        try:
            with open(self.params["pid_file"], encoding="ascii") as handle:
                pid = int(handle.read())
            with open(f"/proc/{pid}/comm", encoding="ascii") as handle:
                return pid if handle.read().strip() == "dockerd" else None
        except (OSError, ValueError):
            return None

    def _engine(self) -> Engine:
        return Engine({"docker_host": self.params["docker_host"], "timeout_s": 10}, "")

    def _answers(self) -> bool:
        try:
            return self._engine().answers()
        except GoldenJobsError:
            return False

    # ------------------------------------------------------------------------------------------------ validate

    def _validate(self) -> None:
        """Refuse what the engine's own program refuses; nothing is written and nothing is touched.

        Programs before 23 have no `--validate`: they read the whole file first and then fail at a socket that cannot be.
        """
        hosts = self.wanted.get("hosts")
        if hosts:
            raise GoldenJobsError(
                f"build_server_daemon has the key hosts ({hosts}): the engine listens where its unit says, and refuses both; leave it out."
            )
        if not self.dockerd:
            return  # a fresh machine in check mode
        with tempfile.TemporaryDirectory(prefix="golden-jobs-") as folder:
            path = os.path.join(folder, "daemon.json")
            write(path, json.dumps(self.wanted), 0o600)
            code, words = _output([self.dockerd, "--validate", "--config-file", path])
            if code and "unknown flag" in words:
                # It makes the folder of its pid file, and none for its socket. Namespaces of its own, so that nothing of it can stay behind.
                nowhere = f"unix://{folder}/none/none.sock"
                argv = ["unshare", "--mount", "--net", self.dockerd, "--config-file", path, "--pidfile", f"{folder}/pid", "--host", nowhere]
                for key, option in (("data-root", "--data-root"), ("exec-root", "--exec-root")):
                    if key not in self.wanted:
                        argv += [option, os.path.join(folder, key)]
                code, words = _output(argv)
                refused = _REFUSED.search(words)
                if not refused and "failed to load listeners" not in words:
                    raise GoldenJobsError(
                        f"The engine's program does not say whether it takes this configuration: {_last(words)}; nothing was written."
                    )
                code, words = (1, refused[0]) if refused else (0, "")
            if code:
                reason = re.sub(
                    r"^unable to configure the Docker daemon with file \S+: ", "", _last(words).replace(path, self.params["path"])
                )
                raise GoldenJobsError(f"The engine refuses this configuration (build_server_daemon): {reason}; nothing was written.")

    # --------------------------------------------------------------------------------------------------- apply

    def _apply(self, action: str, text: str | None) -> str | None:
        move = self._move() if action == "restart" else None
        content = json.dumps(self.wanted, indent=2, sort_keys=True) + "\n"
        moved = None
        try:
            if action == "reload":
                self._write(content)
                self._reload()
                return None
            if action == "restart":
                self._command("stop_command", "stopped")
            if move:
                moved = self._copy(*move)
            self._write(content)
            self._start()
        except (GoldenJobsError, OSError) as error:
            raise GoldenJobsError(f"{error} {self._go_back(text, moved)}") from error
        return moved

    def _write(self, content: str) -> None:
        write(self.params["path"], content, 0o644)

    def _reload(self) -> None:
        pid = self._pid()
        if pid is None:
            raise GoldenJobsError("The engine has ended before it could reload its configuration.")
        os.kill(pid, signal.SIGHUP)
        if not self._answers():
            raise GoldenJobsError("The engine does not answer after it was told to reload its configuration.")

    def _start(self) -> None:
        self._command("start_command", "started")
        deadline = time.monotonic() + self.params["ready_timeout_s"]
        while not self._answers():
            if time.monotonic() > deadline:
                raise GoldenJobsError(
                    f"The engine does not answer within {seconds(self.params['ready_timeout_s'])} of its start; its log ends: {self._log()}."
                )
            time.sleep(_POLL_S)

    def _go_back(self, text: str | None, moved: str | None) -> str:
        """Have the engine run as before; what is said of it."""
        if moved:
            _empty(self.wanted["data-root"])
            if moved.endswith(".moved"):
                os.rename(moved, moved.removesuffix(".moved"))
        if text is None:
            if os.path.exists(self.params["path"]):
                os.unlink(self.params["path"])
        else:
            self._write(text)
        try:
            if self._pid() is not None:
                self._command("stop_command", "stopped")
            self._start()
        except GoldenJobsError as error:
            return f"Its former configuration was put back, but it does not start with that either: {error}"
        return "Its former configuration was put back, and it runs with that."

    def _command(self, which: str, done: str) -> None:
        code, words = _output(self.params[which], timeout_s=180)
        if code:
            last = words.strip().splitlines()[-1:] or ["no output"]
            raise GoldenJobsError(
                f"The engine cannot be {done}: `{' '.join(self.params[which])}` says {last[0]}; its log ends: {self._log()}."
            )

    def _log(self) -> str:
        _code, words = _output(self.params["log_command"])
        lines = [line for line in words.splitlines() if line.strip()]
        telling = [line for line in lines if re.search(r"level=(error|fatal)|^failed|^unable", line)] or lines
        return telling[-1][-400:].rstrip(".") if telling else "(nothing)"

    # ----------------------------------------------------------------------------------------------- data root

    def _move(self) -> tuple[str, str] | None:
        """Where the engine's data is and shall be; None where nothing moves. Raises what speaks against it, with nothing touched."""
        if not self._answers():
            return None  # no data root that could be known
        engine = self._engine()
        info = engine.call("The engine does not say where it keeps its data", engine.api.info)
        running, old, new = info["ContainersRunning"], str(info["DockerRootDir"]), str(self.wanted.get("data-root", "/var/lib/docker"))
        if os.path.realpath(old) == os.path.realpath(new):
            return None
        if running:
            raise GoldenJobsError(f"{running} containers run on this engine, so its data cannot go from {old} to {new}: stop them first.")
        if os.path.isdir(new) and os.listdir(new):
            raise GoldenJobsError(f"The new data root {new} is not empty: empty it, or name another one.")
        _code, words = _output(["du", "-sxB1", old], timeout_s=3600)
        needed, above = int(words.split()[0]), new
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        free = shutil.disk_usage(above).free
        if free < needed + _SPARE_BYTES:
            raise GoldenJobsError(f"{new} has {free / 1e9:.1f} GB free, and {old} holds {needed / 1e9:.1f} GB.")
        self.progress.say(f"copying {needed / 1e9:.1f} GB from {old} to {new}")
        return old, new

    def _copy(self, old: str, new: str) -> str:
        """Copy the data of the stopped engine; the old folder's name afterwards."""
        os.makedirs(new, mode=0o710, exist_ok=True)
        code, words = _output(["cp", "-a", f"{old}/.", new], timeout_s=24 * 3600)
        if code:
            _empty(new)
            raise GoldenJobsError(f"{old} cannot be copied to {new}: {words.strip().splitlines()[-1]}.")
        moved = f"{old.rstrip('/')}.moved"
        try:
            os.rename(old, moved)
        except OSError:  # a disk of its own is mounted there
            return old
        return moved


def _output(argv: list[str], timeout_s: float = 30) -> tuple[int, str]:
    """Exit code and what was printed; 127 where the program is missing, 124 where it did not end."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout_s, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return 127, f"{argv[0]} is not installed"
    except subprocess.TimeoutExpired:
        return 124, f"no end within {timeout_s:.0f} s"
    return done.returncode, done.stdout + done.stderr


def _last(words: str) -> str:
    return next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "it gave no reason")


def _empty(folder: str) -> None:
    """The folder itself stays: a disk may be mounted there."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def _shown(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2, sort_keys=True) + "\n"

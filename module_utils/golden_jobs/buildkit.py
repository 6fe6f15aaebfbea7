"""Builds with BuildKit through the docker CLI.

The Docker SDK cannot drive BuildKit's mounts and secrets, so the CLI does it. Several CLIs may be installed, and
not each of them can: up to version 22 BuildKit is built in, later ones need the buildx plugin.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import threads
from .build_job import BuildJob, failure
from .context import literal_ignore_file
from .engine import Engine
from .errors import GoldenJobsError
from .progress import Progress
from .steps import Step, Steps

LAST_BUILTIN_MAJOR = 22
_STOP_WITHIN_S = 15

_LINE = re.compile(r"#(\d+) (.*)")
_ENDED = re.compile(r"(DONE|CACHED|ERROR|CANCELED)\b:? ?(.*)")
_OUTPUT = re.compile(r"(\d+\.\d+) (.*)")
#: What the CLI puts before the reason.
_WRAPPING = re.compile(
    r"^(ERROR: |rpc error: code = \w+ desc = |failed to (solve|create LLB definition|read dockerfile)( with frontend \S+)?: )+",
    re.IGNORECASE,
)


@dataclass
class Cli:
    """A docker CLI that can build with BuildKit, and why it was chosen."""

    path: str
    reason: str


def find_cli(options: Iterable[str] = (), candidates: Iterable[str] | None = None) -> Cli:
    """The first CLI that can build with BuildKit on the engine that `options` name.

    Raises GoldenJobsError with a sentence that says of each one tried why it cannot.
    """
    tried = []
    for path in candidates if candidates is not None else _installed_clis():
        version, problem = _output([path, *options, "version", "--format", "{{.Client.Version}}"])
        major = int(version.partition(".")[0]) if version.partition(".")[0].isdigit() else None
        if "too old" in problem or "too new" in problem:
            tried.append(f"{path} {version} does not fit the engine ({problem.removeprefix('Error response from daemon: ').rstrip('.')})")
            continue
        if major is not None and major <= LAST_BUILTIN_MAJOR:
            return Cli(path, f"{path} {version} has BuildKit built in")
        buildx, _problem = _output([path, "buildx", "version"])
        if buildx:
            return Cli(path, f"{path} {version} with {buildx}")
        tried.append(f"{path} {version or '(does not run)'} has no buildx plugin")
    raise GoldenJobsError(
        f"No docker CLI here can build with BuildKit ({'; '.join(tried) or 'none is installed'}): install docker-buildx or docker.io 20.10 to 22."
    )


def _installed_clis() -> list[str]:
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    found = (shutil.which("docker", path=folder) for folder in folders if folder)
    return list(dict.fromkeys(path for path in found if path))


def _output(argv: list[str]) -> tuple[str, str]:
    """First line of a command's standard output and last of its errors; empty when it does not run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "", ""
    out, err = done.stdout.strip().splitlines(), done.stderr.strip().splitlines()
    return (out[0] if out else ""), (err[-1] if err else "")


class PlainProgress:
    """Reads `--progress plain` line by line."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._vertices: dict[str, Step] = {}
        self._last: deque[str] = deque(maxlen=1)

    @property
    def last_words(self) -> str:
        """What the CLI said last besides the steps' own lines: why the build failed."""
        return _WRAPPING.sub("", self._last[-1].strip()) if self._last else ""

    def feed(self, line: str) -> None:
        match = _LINE.match(line)
        if not match:
            if line.strip():
                self._last.append(line)
            return
        number, text = match.groups()
        step = self._vertices.get(number)
        if step is None:
            self._vertices[number] = self._steps.begin(text)
        elif ended := _ENDED.match(text):
            self._end(step, *ended.groups())
        elif output := _OUTPUT.match(text):
            self._steps.output(step, output.group(2))
        elif text not in (step.name, "...") and not text.startswith("sha256:"):
            self._steps.output(step, text)

    def _end(self, step: Step, how: str, rest: str) -> None:
        stated = re.fullmatch(r"([\d.]+)s", rest)
        if how == "CACHED":
            self._steps.end(step, cached=True)
        elif how == "DONE":
            self._steps.end(step, duration_s=float(stated.group(1)) if stated else None)
        else:
            self._steps.end(step, error=rest or how.lower())


def build(engine: Engine, cli: Cli, job: BuildJob, steps: Steps, progress: Progress) -> str:
    """Build; the id of the new image, which has no tag yet. Raises GoldenJobsError (build_job.failure)."""
    with tempfile.TemporaryDirectory(prefix="golden-jobs-build-") as private:
        rendered, iidfile = os.path.join(private, "Dockerfile"), os.path.join(private, "image-id")
        with open(os.path.join(private, "config.json"), "w", encoding="utf-8") as handle:
            json.dump(_cli_config(engine), handle)
        with open(os.path.join(private, ".buildNodeID"), "w", encoding="ascii") as handle:
            handle.write(_node_id())
        with open(rendered, "w", encoding="utf-8") as handle:
            handle.write(job.recipe.dockerfile)
        with open(rendered + ".dockerignore", "wb") as binary:
            binary.write(literal_ignore_file(job.context, job.dockerfile_path))
        argv = [cli.path, *engine.cli_options(), "build", "--progress", "plain", "--file", rendered, "--iidfile", iidfile, *_options(job)]
        environment = {
            **engine.cli_environment(),
            "DOCKER_BUILDKIT": "1",
            "DOCKER_CONFIG": private,
            "BUILDX_CONFIG": private,
            **job.recipe.build_args,
        }
        reader = PlainProgress(steps)
        returncode = _run([*argv, job.context], environment, job, steps, reader, progress)
        if returncode != 0:
            raise failure(engine, job, steps, reader.last_words or f"docker build ended with {returncode}")
        with open(iidfile, encoding="ascii") as handle:
            return handle.read().strip()


def _node_id() -> str:
    """What the builder knows this host by, the same each time: else it would be sent the whole context again by every build."""
    return hashlib.sha256(f"golden-jobs {os.uname().nodename} {os.getuid()}".encode()).hexdigest()


def _cli_config(engine: Engine) -> dict[str, object]:
    """A docker configuration with our login alone; plugins of the user's own are still found."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return {**engine.docker_config(), "cliPluginsExtraDirs": [os.path.join(folder, "cli-plugins")]}


def _options(job: BuildJob) -> list[str]:
    argv = []
    for name in job.recipe.build_args:
        argv += ["--build-arg", name]  # the value comes from the environment: nothing of it in the process list
    for name, value in job.labels.items():
        argv += ["--label", f"{name}={value}"]
    for secret, path in job.secrets.items():
        argv += ["--secret", f"id={secret},src={path}"]
    for host, address in job.extra_hosts.items():
        argv += ["--add-host", f"{host}:{address}"]
    for image in job.cache_from:
        argv += ["--cache-from", image]
    for option, setting in (("--target", job.recipe.target), ("--platform", job.recipe.platform), ("--network", job.network)):
        if setting:
            argv += [option, setting]
    return [*argv, *(["--no-cache"] if job.no_cache else [])]


def _run(argv: list[str], environment: Mapping[str, str], job: BuildJob, steps: Steps, reader: PlainProgress, progress: Progress) -> int:
    ended, overdue = threading.Event(), threading.Event()
    with open(job.log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a signal for us reaches it once, by _stop
        )

        def watch() -> None:
            if not ended.wait(job.timeout_s):
                overdue.set()
                process.send_signal(signal.SIGINT)

        threads.start(watch)
        try:
            with steps.beating():
                for raw in process.stdout or ():
                    line = progress.masked(raw)
                    log.write(line)
                    log.flush()
                    if line.strip():
                        progress.detail(line.rstrip("\n"))
                    reader.feed(line.rstrip("\n"))
                process.wait()
        finally:
            ended.set()
            _stop(process)
    if overdue.is_set():
        raise GoldenJobsError(f"The build did not end within {job.timeout_s} s; its log is {job.log_path}.", log=job.log_path)
    return process.returncode


def _stop(process: subprocess.Popen[str]) -> None:
    """End the CLI so that it takes the build in the engine with it."""
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""Builds with BuildKit through the docker CLI.

The Docker SDK cannot drive BuildKit's mounts and secrets, so the CLI does it. Several CLIs may be installed, and
not each of them can: up to version 22 BuildKit is built in, later ones need the buildx plugin.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from . import dockerfile
from .engine import Engine
from .errors import GoldenJobsError
from .progress import Progress, seconds

LAST_BUILTIN_MAJOR = 22
TAIL_LINES = 30
#: A running step's last line is shown at least this often.
HEARTBEAT_S = 10.0

_LINE = re.compile(r"#(\d+) (.*)")
_STEP = re.compile(r"\[(?:[\w.-]+ +)?\d+/\d+\] ")
_ENDED = re.compile(r"(DONE|CACHED|ERROR|CANCELED)\b:? ?(.*)")
#: `RUN : 'title'; command`: what dockerfiles/macros/site.j2 writes.
_TITLE = re.compile(r"RUN : '([^']+)'; .*")
_OUTPUT = re.compile(r"(\d+\.\d+) (.*)")


@dataclass
class Cli:
    """A docker CLI that can build with BuildKit, and why it was chosen."""

    path: str
    reason: str


def find_cli(candidates: Iterable[str] | None = None) -> Cli:
    """The first CLI that can build with BuildKit; a sentence that names each one tried when none can."""
    tried = []
    for path in candidates if candidates is not None else _installed_clis():
        version = _output([path, "version", "--format", "{{.Client.Version}}"])
        major = int(version.partition(".")[0]) if version.partition(".")[0].isdigit() else None
        if major is not None and major <= LAST_BUILTIN_MAJOR:
            return Cli(path, f"{path} {version} has BuildKit built in")
        buildx = _output([path, "buildx", "version"])
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


def _output(argv: list[str]) -> str:
    """First line of a command's standard output, also where it fails to reach a server; empty when it does not run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else ""


@dataclass
class Step:
    """One step of a build as BuildKit reported it. `duration_s` is None until it ended."""

    name: str
    cached: bool = False
    duration_s: float | None = None
    started: float = field(default_factory=time.monotonic, repr=False)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES), repr=False)
    error: str | None = None

    def summary(self) -> dict[str, Any]:
        """name, cached, duration_s: what a module returns of a step."""
        return {key: value for key, value in asdict(self).items() if key in ("name", "cached", "duration_s")}


class PlainProgress:
    """Reads `--progress plain` line by line, keeps the steps of the Dockerfile and says what begins and ends."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._vertices: dict[str, Step] = {}
        self.errors: list[str] = []
        self.failure: list[str] = []

    @property
    def steps(self) -> list[Step]:
        return [step for step in self._vertices.values() if _STEP.match(step.name)]

    @property
    def failed(self) -> Step | None:
        return next((step for step in self._vertices.values() if step.error), None)

    def running(self) -> Step | None:
        """The step of the Dockerfile that runs for the longest time."""
        return next((step for step in self.steps if step.duration_s is None and not step.cached and not step.error), None)

    def feed(self, line: str) -> None:
        match = _LINE.match(line)
        if not match:
            if line.strip():
                self.failure.append(line)
            return
        number, text = match.groups()
        step = self._vertices.get(number)
        if step is None:
            self._vertices[number] = step = Step(text)
            if _STEP.match(text) and " FROM " not in text:
                self._progress.say(f"{_shortened(text)} …")
            return
        if ended := _ENDED.match(text):
            self._end(step, *ended.groups())
        elif output := _OUTPUT.match(text):
            step.tail.append(output.group(2))

    def _end(self, step: Step, how: str, rest: str) -> None:
        step.duration_s = time.monotonic() - step.started
        if how == "CACHED":
            step.cached, step.duration_s = True, 0.0
        elif how == "ERROR":
            step.error = rest
        elif how == "DONE" and (stated := re.fullmatch(r"([\d.]+)s", rest)):
            step.duration_s = float(stated.group(1))
        if _STEP.match(step.name) and " FROM " not in step.name:
            outcome = {"CACHED": "cached", "DONE": seconds(step.duration_s)}.get(how, how.lower())
            self._progress.say(f"{_shortened(step.name)}  {outcome}")


def _shortened(text: str, width: int = 100) -> str:
    """A step for people: without mounts, by the title that the macros give it, without a stage that has no name."""
    text = " ".join(re.sub(r"--mount=\S+ ", "", text).split()).replace("[stage-0 ", "[")
    text = _TITLE.sub(r"RUN \1", text)
    return text if len(text) <= width else text[: width - 1] + "…"


@dataclass
class Build:
    """What one build needs. `secrets`: id -> path of a file on this host; `build_args` reach the CLI by environment."""

    context: str
    dockerfile: str
    dockerfile_name: str
    tag: str
    build_args: Mapping[str, str]
    labels: Mapping[str, str]
    secrets: Mapping[str, str]
    target: str | None
    platform: str | None
    network: str | None
    no_cache: bool
    log_path: str
    timeout_s: int


def build(engine: Engine, cli: Cli, job: Build, progress: Progress) -> list[Step]:
    """Build and tag; the steps as they ran. A failure names the failing instruction, its line, its last output and the log."""
    with tempfile.TemporaryDirectory(prefix="golden-jobs-build-") as private:
        with open(os.path.join(private, "config.json"), "w", encoding="utf-8") as handle:
            handle.write(engine.docker_config())
        rendered = os.path.join(private, "Dockerfile")
        with open(rendered, "w", encoding="utf-8") as handle:
            handle.write(job.dockerfile)
        argv = _argv(engine, cli, job, rendered, os.path.join(private, "image-id"))
        environment = {**os.environ, "DOCKER_BUILDKIT": "1", "DOCKER_CONFIG": private, "BUILDX_CONFIG": private, **job.build_args}
        reader = PlainProgress(progress)
        returncode = _run(argv, environment, job, reader, progress)
    if returncode != 0:
        raise _failure(job, reader, returncode)
    return reader.steps


def _argv(engine: Engine, cli: Cli, job: Build, rendered: str, iidfile: str) -> list[str]:
    argv = [cli.path, *(["--host", engine.address] if engine.address else []), "build", "--progress", "plain"]
    argv += ["--file", rendered, "--tag", job.tag, "--iidfile", iidfile]
    for name in job.build_args:
        argv += ["--build-arg", name]  # the value comes from the environment: no secret in the process list
    for name, value in job.labels.items():
        argv += ["--label", f"{name}={value}"]
    for secret, path in job.secrets.items():
        argv += ["--secret", f"id={secret},src={path}"]
    for option, setting in (("--target", job.target), ("--platform", job.platform), ("--network", job.network)):
        if setting:
            argv += [option, setting]
    if job.no_cache:
        argv.append("--no-cache")
    return [*argv, job.context]


def _run(argv: list[str], environment: Mapping[str, str], job: Build, reader: PlainProgress, progress: Progress) -> int:
    os.makedirs(os.path.dirname(job.log_path), exist_ok=True)
    ended = threading.Event()
    overdue = False

    with open(job.log_path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            argv,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

        def watch() -> None:
            nonlocal overdue
            deadline = time.monotonic() + job.timeout_s
            while not ended.wait(HEARTBEAT_S):
                step = reader.running()
                if step and step.tail:
                    progress.say(f"{_shortened(step.name, 40)} {seconds(time.monotonic() - step.started)}: {step.tail[-1][:100]}")
                if time.monotonic() > deadline:
                    overdue = True
                    process.kill()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            assert process.stdout is not None  # noqa: S101
            for line in process.stdout:
                log.write(line)
                reader.feed(line.rstrip("\n"))
            process.wait()
        finally:
            ended.set()
            if process.poll() is None:
                process.kill()
            watcher.join()
    if overdue:
        raise GoldenJobsError(f"The build did not end within {job.timeout_s} s; its log is {job.log_path}.", log=job.log_path)
    return process.returncode


def _failure(job: Build, reader: PlainProgress, returncode: int) -> GoldenJobsError:
    step = reader.failed
    if step:
        instruction = dockerfile.locate(job.dockerfile, _STEP.sub("", step.name))
        where = f"{job.dockerfile_name}, line {instruction.line}" if instruction else job.dockerfile_name
        code = re.search(r"exit code: (\d+)", step.error or "")
        reason = f"ended with exit code {code.group(1)}" if code else (step.error or "failed")
        tail = "\n".join(step.tail)
        return GoldenJobsError(
            f"The build failed at {where}: {_shortened(_STEP.sub('', step.name), 200)} {reason}; the whole log is {job.log_path}."
            + (f"\n{tail}" if tail else ""),
            log=job.log_path,
            failed_step=step.name,
            tail=list(step.tail),
        )
    last = reader.failure[-1] if reader.failure else f"docker build ended with {returncode}"
    return GoldenJobsError(f"The build of {job.dockerfile_name} failed: {last.strip()}; the whole log is {job.log_path}.", log=job.log_path)

"""Builds with the engine's classic builder through the Docker SDK: for servers where no docker CLI can do BuildKit."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from . import dockerfile, threads
from .build_job import BuildJob, failure
from .context import context_files
from .engine import ENGINE_ERRORS, Engine, words
from .errors import GoldenJobsError
from .progress import Progress
from .steps import Step, Steps

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_NOISE = re.compile(r"---> |Removing intermediate container |Successfully (built|tagged) ")
#: The Dockerfile's name inside the context that the engine gets; never in the image.
_DOCKERFILE = ".golden-jobs-dockerfile"


def refuse_buildkit_only(job: BuildJob, secrets: bool) -> None:
    """Refuse what the classic builder cannot do, with the line that needs BuildKit."""
    needs = "only BuildKit can do that: install docker-buildx, or docker.io 20.10 to 22, on the build server."
    if secrets:
        raise GoldenJobsError(f"The option secrets is set, but the classic builder would build; {needs}")
    for instruction in dockerfile.parse(job.recipe.dockerfile):
        option = re.match(r"--(mount|network|security|link|parents|checksum|exclude)\b", instruction.text)
        if option:
            raise GoldenJobsError(
                f"{job.dockerfile_path}, line {instruction.line}: {instruction.keyword} uses {option.group(0)}, and {needs}"
            )


class ClassicProgress:
    """Reads the engine's stream of JSON events."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._step: Step | None = None
        self._cached = False
        self.image_id: str | None = None

    def feed(self, event: Mapping[str, Any]) -> list[str]:
        """Take one event in; its lines for the log."""
        self.image_id = (event.get("aux") or {}).get("ID") or self.image_id
        lines = [line for line in str(event.get("stream") or event.get("error") or "").splitlines() if line.strip()]
        if "error" in event and self._step:
            self._steps.end(self._step, error=lines[-1] if lines else "failed")
            self._step = None
            return lines
        for line in lines:
            if begun := _STEP.match(line):
                self.finish()
                number, total, text = begun.groups()
                self._step, self._cached = self._steps.begin(f"[{number}/{total}] {text}"), False
            elif "---> Using cache" in line:
                self._cached = True
            elif self._step and not _NOISE.search(line):
                self._steps.output(self._step, line)
        return lines

    def finish(self) -> None:
        """The step that ran has ended well."""
        if self._step:
            self._steps.end(self._step, cached=self._cached)
            self._step = None


def build(engine: Engine, job: BuildJob, steps: Steps, progress: Progress) -> str:
    """Build; the id of the new image, which has no tag yet. Raises GoldenJobsError (build_job.failure)."""
    reader = ClassicProgress(steps)
    context = _Context(job)
    last = ""
    with open(job.log_path, "w", encoding="utf-8") as log, _within(job), context.tar() as tar, steps.beating():
        try:
            for event in engine.api.build(
                fileobj=tar,
                custom_context=True,
                dockerfile=context.dockerfile,
                buildargs=dict(job.recipe.build_args),
                labels=dict(job.labels),
                target=job.recipe.target,
                platform=job.recipe.platform,
                network_mode=job.network,
                extra_hosts=dict(job.extra_hosts) or None,
                cache_from=list(job.cache_from) or None,
                nocache=job.no_cache,
                rm=True,
                forcerm=True,
                decode=True,
            ):
                for raw in reader.feed(event):
                    last = progress.masked(raw)
                    log.write(last + "\n")
                    log.flush()
                    progress.detail(last)
                if "error" in event:
                    raise context.error or failure(engine, job, steps, last)
        except ENGINE_ERRORS as error:
            raise context.error or failure(engine, job, steps, words(error)) from error
    reader.finish()
    if not reader.image_id:
        raise failure(engine, job, steps, last or "the engine named no image")
    return reader.image_id


@contextlib.contextmanager
def _within(job: BuildJob) -> Iterator[None]:
    """The build's deadline, by SIGALRM: a read from the engine that may be silent for hours has none of its own."""

    def overdue(number: int, frame: object) -> None:
        raise GoldenJobsError(f"The build did not end within {job.timeout_s} s; its log is {job.log_path}.", log=job.log_path)

    former = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, job.timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


class _Context:
    """The context as the engine gets it: what `context_files` selects, and the Dockerfile."""

    def __init__(self, job: BuildJob) -> None:
        self._folder = job.context
        self._names = context_files(job.context, job.dockerfile_path)
        self._extra: dict[str, bytes] = {}
        self.error: GoldenJobsError | None = None
        self.dockerfile = os.path.relpath(job.dockerfile_path, job.context)
        if self.dockerfile not in self._names:
            self._hide(job.recipe.dockerfile)

    def _hide(self, content: str) -> None:
        """Send the Dockerfile beside the context. The engine drops what .dockerignore excludes once it has read it."""
        self.dockerfile = _DOCKERFILE
        ignored = [_DOCKERFILE.encode(), b""]
        if ".dockerignore" in self._names:
            with open(os.path.join(self._folder, ".dockerignore"), "rb") as handle:
                ignored.insert(0, handle.read())
        else:
            ignored.insert(0, b".dockerignore")
        self._extra = {_DOCKERFILE: content.encode("utf-8", "surrogateescape"), ".dockerignore": b"\n".join(ignored)}

    @contextlib.contextmanager
    def tar(self) -> Iterator[IO[bytes]]:
        """A tar stream, written while the engine reads it: a data set needs no second copy on the disk."""
        source, sink = os.pipe()
        with open(source, "rb") as reader:
            writer = threads.start(self._write, sink)
            try:
                yield reader
            finally:
                reader.close()  # a writer that still writes gets a broken pipe
                writer.join()

    def _write(self, sink: int) -> None:
        with contextlib.suppress(BrokenPipeError), open(sink, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            for name, data in self._extra.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
            for name in self._names:
                if name not in self._extra:
                    try:
                        _add(tar, os.path.join(self._folder, name), name)
                    except BrokenPipeError:
                        raise
                    except OSError as error:
                        self.error = GoldenJobsError(f"{name} in the context {self._folder} cannot be read: {error.strerror or error}.")
                        return


def _add(tar: tarfile.TarFile, path: str, name: str) -> None:
    member = tar.gettarinfo(path, arcname=name)
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    if member.islnk():  # a second name of the same file: send it as a file of its own
        member.type, member.linkname, member.size = tarfile.REGTYPE, "", os.stat(path).st_size
    if member.isreg():
        with open(path, "rb") as handle:
            tar.addfile(member, handle)
    else:
        tar.addfile(member)

"""sha256 of many files at once."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import threads
from .errors import GoldenJobsError
from .progress import Progress

#: relative path, status of what was read, sha256, when reading began (epoch, ns)
Found = Callable[[str, os.stat_result, str, int], None]

_CHUNK_BYTES = 1 << 20
_SAY_EVERY_S = 5.0
#: So often a file that changes while it is read is read again.
_ATTEMPTS = 3


def file_sha256(path: str) -> str:
    """Hexadecimal sha256 of a file's content, read in pieces."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def hash_files(folder: str, sizes: Mapping[str, int], found: Found, progress: Progress | None = None) -> None:
    """Call `found` for each of the files (relative path -> bytes); from several threads, one per core.

    Says how far it is every 5 s. GoldenJobsError for a file that cannot be read or does not stop changing.
    """
    job = _Job(folder, sizes, found)
    total = sum(sizes.values())
    said = time.monotonic()
    workers: list[threading.Thread] = []
    try:
        for _worker in range(min(os.cpu_count() or 1, len(sizes))):
            workers.append(threads.start(job.work))
        for thread in workers:
            while thread.is_alive():
                thread.join(max(0.0, said + _SAY_EVERY_S - time.monotonic()))
                if thread.is_alive() and progress:
                    progress.say(f"hashing the context: {job.bytes_read / 1e9:.1f} of {total / 1e9:.1f} GB")
                said = time.monotonic() if thread.is_alive() else said
    finally:
        job.stop = True  # Ctrl-C: the threads end with the piece at hand
        for thread in workers:
            thread.join()
    if job.error:
        raise job.error


class _Job:
    """What the threads share: each takes the next file."""

    def __init__(self, folder: str, sizes: Mapping[str, int], found: Found) -> None:
        self.bytes_read = 0
        self.error: BaseException | None = None
        self.stop = False
        self._folder = os.fsencode(folder)
        self._found = found
        # Big files first, so that the threads end together. Taking the next item of a list's iterator needs no lock.
        self._paths: Iterator[str] = iter(sorted(sizes, key=lambda path: -sizes[path]))

    def work(self) -> None:
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        try:
            for path in self._paths:
                if self.stop:
                    return
                self._file(path, buffer)
        except BaseException as error:  # for the thread that waits
            self.error = self.error or error
            self.stop = True

    def _file(self, path: str, buffer: memoryview) -> None:
        full = os.path.join(self._folder, path.encode("utf-8", "surrogateescape"))
        try:
            for _attempt in range(_ATTEMPTS):
                started_ns = time.time_ns()
                # A pipe that took the file's place must not block, a link must not lead away.
                descriptor = os.open(full, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    before = os.fstat(descriptor)
                    sha256 = self._content(descriptor, before, buffer)
                    after = os.fstat(descriptor)
                finally:
                    os.close(descriptor)
                if self.stop:
                    return
                if stat.S_ISREG(after.st_mode) and _facts(before) == _facts(after):
                    self._found(path, after, sha256, started_ns)
                    return
        except OSError as error:
            raise GoldenJobsError(
                f"The file {path!r} of the context {os.fsdecode(self._folder)} cannot be read ({error.strerror}): "
                "make it readable, or name it in .dockerignore."
            ) from error
        raise GoldenJobsError(
            f"The file {path!r} of the context {os.fsdecode(self._folder)} changed while it was read, {_ATTEMPTS} times: "
            "stop what writes it, or name it in .dockerignore."
        )

    def _content(self, descriptor: int, status: os.stat_result, buffer: memoryview) -> str:
        if status.st_size > _CHUNK_BYTES and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        digest = hashlib.sha256()
        left = status.st_size
        # Never after a file that grows as fast as it is read: one piece more than its size shows that it changed.
        while left >= 0 and not self.stop:
            count = os.readv(descriptor, [buffer])
            if count == 0:
                break
            digest.update(buffer[:count])
            self.bytes_read += count
            left -= count
        return digest.hexdigest()


def _facts(status: os.stat_result) -> tuple[Any, ...]:
    return status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev

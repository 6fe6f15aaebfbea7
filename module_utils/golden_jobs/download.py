"""Files by URL with a checksum: kept between runs, resumed where the last transfer stopped, read again only when they changed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from .digest_cache import DigestCache
from .errors import GoldenJobsError
from .hashing import file_sha256
from .progress import Progress
from .retry import Retry, TryAgain

with contextlib.suppress(ImportError):  # said in one sentence where a download is asked for
    import requests

SPEC: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "sha256": {"type": "str", "required": True},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "written": {"type": "str"},
}

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 1 << 20
_SAY_EVERY_S = 5.0
_CONNECT_S = 20.0
#: Without a byte for so long the connection counts as dead.
_SILENCE_S = 60.0
_ATTEMPTS = 5
_PASSING = frozenset([408, 425, 429, 500, 502, 503, 504])


def check(item: Mapping[str, Any]) -> None:
    """GoldenJobsError for an entry that is wrong in itself."""
    address = urlsplit(item["url"])
    if address.scheme not in ("http", "https", "file"):
        raise GoldenJobsError(f"The url {shown(item['url'])} of {item['path']} is not allowed: http, https or file{at(item)}.")
    if address.password:
        raise GoldenJobsError(f"The url {shown(item['url'])} of {item['path']} holds a password: give it in headers{at(item)}.")
    if not _SHA256.fullmatch(item["sha256"].lower()):
        raise GoldenJobsError(
            f"The sha256 {item['sha256']!r} of {item['path']} is not allowed: 64 hexadecimal digits, as sha256sum prints them{at(item)}."
        )


def fetch(item: Mapping[str, Any], cache: str, timeout_s: float, progress: Progress) -> str:
    """Path of the file in the cache, with the checksum that it has to have.

    A file that is there costs no network. GoldenJobsError when it cannot be had, or is another one.
    """
    wanted = item["sha256"].lower()
    folder = os.path.join(cache, "downloads", wanted)
    path = os.path.join(folder, "content")
    os.makedirs(folder, exist_ok=True)
    with locked(os.path.join(folder, "lock")):
        if os.path.exists(path):
            if _known_sha256(cache, folder) == wanted:
                return path
            progress.say(f"{item['path']}: the file in the cache is damaged, fetching it again")
            os.unlink(path)
        part = os.path.join(folder, "part")
        resumed = os.path.exists(part) and os.path.getsize(part) > 0
        _transfer(item, part, timeout_s, progress)
        if resumed and file_sha256(part) != wanted:
            progress.say(f"{item['path']}: what an earlier run had fetched does not fit, starting from its beginning")
            os.unlink(part)
            _transfer(item, part, timeout_s, progress)
        has = file_sha256(part)
        if has != wanted:
            os.unlink(part)
            raise GoldenJobsError(
                f"{shown(item['url'])} is another file than {item['path']} has to be: its sha256 is {has}, not {wanted}{at(item)}."
            )
        os.chmod(part, 0o644)
        os.replace(part, path)
    return path


def _known_sha256(cache: str, folder: str) -> str:
    """The cached file's digest, read only if the file has changed since it was read last."""
    digests = DigestCache(cache, folder)
    path = os.path.join(folder, "content")
    status = os.lstat(path)
    known = digests.get("content", status)
    if known is None:
        started_ns = time.time_ns()
        known = file_sha256(path)
        digests.put("content", status, known, started_ns)
    digests.save()
    return known


def _transfer(item: Mapping[str, Any], part: str, timeout_s: float, progress: Progress) -> None:
    address = urlsplit(item["url"])
    if address.scheme == "file":
        try:
            shutil.copyfile(unquote(address.path), part)
        except OSError as error:
            raise GoldenJobsError(
                f"The file {unquote(address.path)} of {item['path']} cannot be read: {error.strerror}{at(item)}."
            ) from error
        return
    try:
        Retry(_ATTEMPTS, timeout_s, "timeout_s", progress).run(lambda: _get(item, part, progress))
    except GoldenJobsError as error:
        raise GoldenJobsError(f"{str(error).rstrip('.')}{at(item)}.") from error


def _get(item: Mapping[str, Any], part: str, progress: Progress) -> None:
    """One transfer, from where the last one stopped; TryAgain for what may pass."""
    have = os.path.getsize(part) if os.path.exists(part) else 0
    headers = {"Accept-Encoding": "identity", **{name: str(value) for name, value in item["headers"].items()}}
    if have:
        headers["Range"] = f"bytes={have}-"
    name = shown(item["url"])
    try:
        with requests.get(item["url"], headers=headers, stream=True, timeout=(_CONNECT_S, _SILENCE_S)) as response:
            if response.status_code == 416:  # all of it is there already, or it has become shorter: the checksum decides
                return
            if response.status_code in _PASSING:
                after = response.headers.get("Retry-After", "")
                raise TryAgain(f"{name} answers {response.status_code}", float(after) if after.isdigit() else None)
            if response.status_code not in (200, 206):
                raise GoldenJobsError(f"{name} answers {response.status_code}, so {item['path']} cannot be had")
            goes_on = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if response.status_code == 206 and not goes_on:
                os.unlink(part)
                raise TryAgain(f"{name} answers another part than was asked for")
            _write(response, part, have if goes_on else 0, item["path"], progress)
    except requests.exceptions.SSLError as error:
        raise GoldenJobsError(
            f"The certificate of {name} is not trusted by this build server: name the CA in ca_file of build_server_site"
        ) from error
    except (requests.RequestException, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            raise GoldenJobsError(f"{part} cannot be written: {error.strerror}") from error
        raise TryAgain(f"{name} cannot be reached or broke off: {_reason(error)}") from error


def _write(response: Any, part: str, have: int, name: str, progress: Progress) -> None:
    announced = int(response.headers.get("Content-Length", 0)) + have
    total = f" of {announced / 1e6:.0f}" if announced > have else ""
    if have:
        progress.say(f"{name}: going on after {have / 1e6:.0f}{total} MB")
    said = time.monotonic()
    with open(part, "ab" if have else "wb") as handle:
        for chunk in response.iter_content(_CHUNK_BYTES):
            handle.write(chunk)
            have += len(chunk)
            if time.monotonic() - said > _SAY_EVERY_S:
                said = time.monotonic()
                progress.say(f"{name}: {have / 1e6:.0f}{total} MB")
    if have < announced:
        raise TryAgain(f"{shown(response.request.url)} broke off after {have} of {announced} bytes")


def _reason(error: BaseException) -> str:
    """The last words of a chain of wrapped network errors."""
    text = str(error)
    known = re.search(
        r"(Name or service not known|Temporary failure in name resolution|Connection refused|timed out|Connection reset by peer)", text
    )
    return known.group(1) if known else type(error).__name__


def shown(url: str) -> str:
    """The address without what may be a secret: user, password and query."""
    address = urlsplit(url)
    host = address.netloc.rpartition("@")[2]
    return f"{address.scheme}://{host}{address.path}"


def at(item: Mapping[str, Any]) -> str:
    """Where the entry was written, as the end of a sentence."""
    return f" ({item['written']})" if item.get("written") else ""


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """One process at a time: courses that are built side by side may share a file or a repository."""
    with open(path, "w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

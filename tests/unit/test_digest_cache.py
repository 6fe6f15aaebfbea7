"""A second digest reads nothing that has not changed, and never believes a digest of other content."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.golden_jobs import digest_cache, hashing
from ansible.module_utils.golden_jobs.context import Recipe, describe
from ansible.module_utils.golden_jobs.digest_cache import DigestCache, default_folder
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.support import wait_for

RECIPE = Recipe("FROM scratch\n", {})
#: What `believe_all` puts in the place of every remembered digest: a manifest shows by it what was not read.
REMEMBERED = "f" * 64


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "big").write_bytes(b"x" * 3_000_000)
    (folder / "small").write_text("small")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def _no_wait(monkeypatch: pytest.MonkeyPatch):
    """Files count as at rest as soon as they are written."""
    monkeypatch.setattr(digest_cache, "RACY_NS", -(10**12))


def digests(context: Path, cache: Path) -> dict[str, str]:
    files = describe(str(context), RECIPE, cache_dir=str(cache)).files
    return {path: text.split()[2] for path, text in files.items() if text.startswith("file")}


def real(context: Path) -> dict[str, str]:
    files = [path for path in context.rglob("*") if path.is_file()]
    return {str(path.relative_to(context)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def cache_file(cache: Path) -> Path:
    (found,) = (cache / "digests").glob("*.json")
    return found


def rewrite(cache: Path, change: Callable[[dict[str, Any], dict[str, str]], None]) -> None:
    """Change header and entries of the cache and make it sound again."""
    path = cache_file(cache)
    header, entries = (json.loads(line) for line in path.read_text().split("\n"))
    change(header, entries)
    body = json.dumps(entries)
    path.write_text(f"{json.dumps({**header, 'sha256': hashlib.sha256(body.encode()).hexdigest()})}\n{body}")


def mark(header: dict[str, Any], entries: dict[str, str]) -> None:
    for path, entry in entries.items():
        entries[path] = f"{entry.rpartition(' ')[0]} {REMEMBERED}"


@pytest.mark.usefixtures("_no_wait")
def test_an_unchanged_tree_is_not_read_again(context: Path, cache: Path):
    assert digests(context, cache) == real(context)
    rewrite(cache, mark)
    assert digests(context, cache) == {"data/big": REMEMBERED, "small": REMEMBERED}


@pytest.mark.usefixtures("_no_wait")
def test_only_what_changed_is_read(context: Path, cache: Path):
    digests(context, cache)
    rewrite(cache, mark)
    (context / "small").write_text("other")
    (context / "new").write_text("new")
    now = real(context)
    assert digests(context, cache) == {"data/big": REMEMBERED, "small": now["small"], "new": now["new"]}


def in_place_with_the_old_time(path: Path) -> None:
    before = path.stat()
    with path.open("r+b") as handle:
        handle.write(b"S")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_another_file_with_the_old_time(path: Path) -> None:
    before = path.stat()
    other = path.with_name("other")
    other.write_text("SMALL")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.usefixtures("_no_wait")
@pytest.mark.parametrize("change", [in_place_with_the_old_time, by_another_file_with_the_old_time])
def test_a_change_that_hides_its_time_is_seen(context: Path, cache: Path, change: Callable[[Path], None]):
    digests(context, cache)
    before = (context / "small").stat()
    wait_for(lambda: time.time_ns() - before.st_ctime_ns > 50_000_000)  # more than one tick of the kernel's clock
    change(context / "small")
    after = (context / "small").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert digests(context, cache) == real(context)


def test_changes_as_fast_as_they_go_are_seen(context: Path, cache: Path):
    """On kernels before 6.13 many of these changes leave size, both times and inode as they were."""
    (context / "data" / "big").unlink()
    path = context / "small"
    for number in range(100):
        content = f"{number:05d}"
        before = path.stat()
        with path.open("r+") as handle:
            handle.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert digests(context, cache) == {"small": hashlib.sha256(content.encode()).hexdigest()}


def status(mtime_ns: int, ctime_ns: int) -> Any:
    class Status:
        st_size, st_ino, st_dev, st_mtime_ns, st_ctime_ns = 1, 2, 3, 0, 0

    Status.st_mtime_ns, Status.st_ctime_ns = mtime_ns, ctime_ns
    return Status


S = 1_000_000_000


@pytest.mark.parametrize(
    ("mtime_s", "ctime_s", "trusted"),
    [
        (-100.0, -100.0, True),
        (-100.0, -3.1, True),
        (-100.0, -2.9, False),  # changed just before it was read; on FAT two seconds are one tick
        (-2.9, -100.0, False),
        (-100.0, 0.0, False),
        (+100.0, -100.0, False),  # from the future: a clock was wrong
        (-100.0, +100.0, False),
    ],
)
def test_only_a_file_at_rest_is_remembered(cache: Path, tmp_path: Path, mtime_s: float, ctime_s: float, trusted: bool):
    now = time.time_ns()
    file = status(now + int(mtime_s * S), now + int(ctime_s * S))
    first = DigestCache(str(cache), str(tmp_path))
    first.put("a", file, REMEMBERED, now)
    first.save()
    assert DigestCache(str(cache), str(tmp_path)).get("a", file) == (REMEMBERED if trusted else None)


@pytest.mark.usefixtures("_no_wait")
def test_a_remembered_file_is_not_believed_when_the_clock_was_set_back(context: Path, cache: Path):
    digests(context, cache)
    rewrite(cache, mark)
    rewrite(cache, lambda header, _: header.update(written_ns=time.time_ns() + 3600 * S))
    assert digests(context, cache) == real(context)


@pytest.mark.usefixtures("_no_wait")
def test_a_file_dated_in_the_future_is_read_each_time(context: Path, cache: Path):
    os.utime(context / "small", ns=(0, time.time_ns() + 3600 * S))
    digests(context, cache)
    rewrite(cache, mark)
    assert digests(context, cache)["small"] == real(context)["small"]


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(os.urandom(1000))


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def one_digit(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[:-5] + ("0" if text[-5] != "0" else "1") + text[-4:])


def a_list(path: Path) -> None:
    path.write_text("[]\n[]")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def writable_by_others(path: Path) -> None:
    path.chmod(0o666)


def of_another_user(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        path.unlink()  # only root can give files away


@pytest.mark.usefixtures("_no_wait")
@pytest.mark.parametrize("damage", [nothing, noise, half, one_digit, a_list, a_folder, writable_by_others, of_another_user])
def test_a_damaged_or_foreign_cache_is_not_believed(context: Path, cache: Path, damage: Callable[[Path], None]):
    digests(context, cache)
    rewrite(cache, mark)
    damage(cache_file(cache))
    assert digests(context, cache) == real(context)


@pytest.mark.usefixtures("_no_wait")
@pytest.mark.parametrize("key", ["format", "context"])
def test_a_cache_of_another_format_or_context_is_not_believed(context: Path, cache: Path, key: str):
    digests(context, cache)
    rewrite(cache, mark)
    rewrite(cache, lambda header, _: header.update({key: "other"}))
    assert digests(context, cache) == real(context)


def test_without_a_writable_cache_every_digest_reads(context: Path, cache: Path):
    cache.write_text("a file where the folder should be")
    assert digests(context, cache) == real(context)
    assert digests(context, cache) == real(context)


@pytest.mark.usefixtures("_no_wait")
def test_several_at_once_do_not_disturb_each_other(context: Path, cache: Path):
    for number in range(200):
        (context / f"{number}").write_text(str(number))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: digests(context, cache), range(24)))
    assert results == [real(context)] * 24
    rewrite(cache, mark)
    assert set(digests(context, cache).values()) == {REMEMBERED}
    assert [path.name for path in (cache / "digests").iterdir()] == [cache_file(cache).name]


@pytest.mark.usefixtures("_no_wait")
def test_what_is_gone_is_forgotten(context: Path, cache: Path, tmp_path: Path):
    digests(context, cache)
    gone = cache_file(cache)
    (context / "small").unlink()
    digests(context, cache)
    assert "small" not in gone.read_text()
    other = tmp_path / "other"
    context.rename(other)
    digests(other, cache)
    assert cache_file(cache) != gone


@pytest.mark.usefixtures("_no_wait")
def test_only_its_owner_reads_the_cache(context: Path, cache: Path):
    umask = os.umask(0)
    try:
        digests(context, cache)
    finally:
        os.umask(umask)
    assert cache_file(cache).stat().st_mode & 0o777 == 0o600
    assert (cache / "digests").stat().st_mode & 0o777 == 0o700


def test_the_cache_is_where_the_desktop_standard_puts_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == "/somewhere/golden-jobs"
    for other in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        assert default_folder() == os.path.expanduser("~/.cache/golden-jobs")


def changing(monkeypatch: pytest.MonkeyPatch, path: Path, times: int) -> None:
    """Append to the file after each of the first `times` pieces that are read of anything."""
    readv = os.readv
    left = [times]

    def reading(descriptor: int, buffers: Any) -> int:
        count = readv(descriptor, buffers)
        if left[0]:
            left[0] -= 1
            with path.open("a") as handle:
                handle.write("!")
        return count

    monkeypatch.setattr(os, "readv", reading)


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "context" / "log"
    path.parent.mkdir()
    path.write_text("a line")
    changing(monkeypatch, path, times=1)
    assert digests(path.parent, cache) == {"log": hashlib.sha256(b"a line!").hexdigest()}


def test_a_file_that_does_not_stop_changing_is_named(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "context" / "log"
    path.parent.mkdir()
    path.write_text("a line")
    changing(monkeypatch, path, times=1000)
    with pytest.raises(GoldenJobsError, match=r"^The file 'log' of the context .*context changed while it was read, 3 times: [^\n]*\.$"):
        digests(path.parent, cache)


class Said(Progress):
    """Keeps what was said; like an operator who presses Ctrl-C at the first line, if `interrupts`."""

    def __init__(self, interrupts: bool = False) -> None:
        super().__init__(None)
        self.lines: list[str] = []
        self._interrupts = interrupts

    def say(self, text: str) -> None:
        self.lines.append(text)
        if self._interrupts:
            raise KeyboardInterrupt


@pytest.fixture
def long_one(context: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A context of 300 MB that takes no space on the disk, and a hurry to say something."""
    monkeypatch.setattr(hashing, "_SAY_EVERY_S", 0.01)
    with (context / "data" / "big").open("wb") as handle:
        handle.truncate(300_000_000)
    return context


def test_a_long_digest_says_how_far_it_is(long_one: Path, cache: Path):
    said = Said()
    describe(str(long_one), RECIPE, cache_dir=str(cache), progress=said)
    far = [line.removeprefix("hashing the context: ").removesuffix(" of 0.3 GB") for line in said.lines]
    assert far == sorted(far, key=float)
    assert 0 < float(far[-1]) <= 0.3


@pytest.mark.usefixtures("_no_wait")
def test_ctrl_c_ends_all_threads_and_remembers_no_half_read_file(long_one: Path, cache: Path):
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        describe(str(long_one), RECIPE, cache_dir=str(cache), progress=Said(interrupts=True))
    assert threading.active_count() == before
    assert not any("data/big" in path.read_text() for path in (cache / "digests").glob("*.json"))

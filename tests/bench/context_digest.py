"""How long the digest of a context of 5 GB takes, against sha256sum on one core, in one run.

Makes the tree (a few big files, 20,000 small ones) under a temporary folder and removes it again. `--gb 0.5` makes a smaller one,
`--folder` chooses the disk. Prints a table and JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.bench.measure import clean_up_when_terminated, goal, machine, row, seconds

# ruff: isort: split
# After the import that makes them importable.
from ansible.module_utils.golden_jobs.context import Recipe, describe
from ansible.module_utils.golden_jobs.digest_cache import RACY_NS

SMALL_FILES = 20_000
SMALL_BYTES = 2_000
BIG_FILES = 5
GOAL_SECOND_S = 0.5
GOAL_FIRST = 0.6
RECIPE = Recipe("FROM scratch\nCOPY . /\n", {})


def make_tree(folder: Path, size_bytes: int) -> None:
    """Incompressible content, so that no file system can be clever."""
    block = os.urandom(1 << 20)
    rest = max(size_bytes - SMALL_FILES * SMALL_BYTES, 0)
    for number in range(BIG_FILES):
        with (folder / f"data-{number}.bin").open("wb") as handle:
            for piece in range(rest // BIG_FILES >> 20):
                handle.write(piece.to_bytes(8, "big") + block[8:])
    for number in range(SMALL_FILES):
        path = folder / f"courseware/{number // 200:03d}/{number}.txt"
        if number % 200 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(number.to_bytes(8, "big") + block[: SMALL_BYTES - 8])


def forget(folder: Path) -> None:
    """Drop the tree from the page cache, so that what follows reads the disk."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def sha256sum(folder: Path) -> None:
    """All files with one process on one core."""
    core = str(min(os.sched_getaffinity(0)))
    command = f"find . -type f -print0 | taskset -c {core} xargs -0 sha256sum >/dev/null"
    subprocess.run(command, shell=True, cwd=folder, check=True)


def measure(gb: float = 5.0, folder: str | None = None, cold: bool = False) -> dict[str, Any]:
    """Seconds, rates in MB/s, and the two figures of merit: `first_ratio` (of sha256sum's rate) and `second_s`."""
    with tempfile.TemporaryDirectory(prefix="golden-jobs-bench-", dir=folder) as temporary:
        tree = Path(temporary) / "context"
        tree.mkdir()
        make_tree(tree, int(gb * 1e9))
        time.sleep(RACY_NS / 1e9 + 0.1)  # files that were written just now are not remembered
        cache = str(Path(temporary) / "cache")
        size_mb = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) / 1e6
        if cold:
            forget(tree)
        one_core_s = seconds(lambda: sha256sum(tree))
        if cold:
            forget(tree)
        first_s = seconds(lambda: describe(str(tree), RECIPE, cache_dir=cache).digest)
        second_s = seconds(lambda: describe(str(tree), RECIPE, cache_dir=cache).digest)
        big = max(tree.glob("data-*"), key=lambda path: path.stat().st_size)
        with big.open("r+b") as handle:
            handle.write(b"changed")
        one_changed_s = seconds(lambda: describe(str(tree), RECIPE, cache_dir=cache).digest)
    return {
        "size_mb": round(size_mb, 1),
        "files": SMALL_FILES + BIG_FILES,
        "sha256sum_s": round(one_core_s, 2),
        "sha256sum_mb_per_s": round(size_mb / one_core_s),
        "first_s": round(first_s, 2),
        "first_mb_per_s": round(size_mb / first_s),
        "first_ratio": round(one_core_s / first_s, 2),
        "one_changed_s": round(one_changed_s, 2),
        "second_s": round(second_s, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=5.0)
    parser.add_argument("--folder", help="where the tree is made (default: the temporary folder)")
    parser.add_argument(
        "--cold", action="store_true", help="drop the tree from the page cache first: measures the disk more than the hashing"
    )
    options = parser.parse_args()
    clean_up_when_terminated()
    result = measure(options.gb, options.folder, cold=options.cold)
    print(f"{machine()}; {result['size_mb'] / 1000:.1f} GB in {result['files']} files")
    row("sha256sum, one core", f"{result['sha256sum_s']:.2f} s", f"{result['sha256sum_mb_per_s']} MB/s")
    row("first digest", f"{result['first_s']:.2f} s", f"{result['first_mb_per_s']} MB/s")
    goal("its rate against sha256sum", result["first_ratio"], at_least=GOAL_FIRST)
    row("digest after one big file changed", f"{result['one_changed_s']:.2f} s")
    goal("second digest, nothing changed", result["second_s"], "s", at_most=GOAL_SECOND_S)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Removes from BuildKit's cache what a benchmark's builds left there, and nothing else: the cache is the developer's."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

CONTEXT = "local source for context"


def _records(engine: Any) -> dict[str, dict[str, Any]]:
    return {record["ID"]: record for record in engine.df()["BuildCache"] or []}


@contextmanager
def pruned_build_cache(engine: Any, mark: str, context_bytes: Collection[int]) -> Iterator[None]:
    """Afterwards the new records are removed that belong to a step with `mark` in it, and the copies of a context of exactly such a size."""
    before = _records(engine)
    try:
        yield
    finally:
        new = {name: record for name, record in _records(engine).items() if name not in before}
        for name in _ours(new, mark, context_bytes):
            engine.prune_builds(filters={"id": [name]}, all=True)


def _ours(new: dict[str, dict[str, Any]], mark: str, context_bytes: Collection[int]) -> list[str]:
    """Ids, each before the one that it is based on: the engine keeps what something else is based on."""
    marked = [name for name, record in new.items() if mark in record["Description"]]
    after, before = list(marked), list(marked)
    for name in after:  # both grow while they are read
        after += [other for other, record in new.items() if record["Parent"] == name and other not in after]
    for name in before:
        before += [parent for parent in [new[name]["Parent"]] if parent in new and parent not in before]
    ours = list(dict.fromkeys([*after, *before]))

    def depth(name: str) -> int:
        parent = new[name]["Parent"]
        return 1 + depth(parent) if parent in new else 0

    contexts = [name for name, record in new.items() if record["Description"] == CONTEXT and record["Size"] in context_bytes]
    return sorted(ours, key=depth, reverse=True) + contexts

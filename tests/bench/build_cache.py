"""Removes from BuildKit's cache what a benchmark's builds left there, and nothing else: the cache is the developer's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CONTEXT = "local source for context"


def _records(engine: Any) -> dict[str, dict[str, Any]]:
    return {record["ID"]: record for record in engine.df()["BuildCache"] or []}


@contextmanager
def pruned_build_cache(engine: Any, mark: str, context_bytes: int) -> Iterator[None]:
    """Afterwards the new records are removed that belong to a step with `mark` in it, and the copies of contexts of about that size."""
    before = _records(engine)
    try:
        yield
    finally:
        new = {name: record for name, record in _records(engine).items() if name not in before}
        for name in _ours(new, mark, context_bytes):
            engine.prune_builds(filters={"id": [name]}, all=True)


def _ours(new: dict[str, dict[str, Any]], mark: str, context_bytes: int) -> list[str]:
    """Ids, each before the one that it is based on: the engine keeps what something else is based on."""
    ours = [name for name, record in new.items() if mark in record["Description"]]
    for name in ours:  # grows while it is read: the steps before and after
        parent = new[name]["Parent"]
        nearby = [*([parent] if parent in new else []), *(other for other, record in new.items() if record["Parent"] == name)]
        ours += [other for other in nearby if other not in ours]

    def depth(name: str) -> int:
        parent = new[name]["Parent"]
        return 1 + depth(parent) if parent in new else 0

    contexts = [
        name
        for name, record in new.items()
        if record["Description"] == CONTEXT and context_bytes <= record["Size"] < context_bytes + 10_000_000
    ]
    return sorted(ours, key=depth, reverse=True) + contexts

"""What one build needs, whichever builder does it, and what its failure is called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from . import dockerfile
from .engine import Engine
from .errors import GoldenJobsError
from .manifest import Manifest, Recipe
from .steps import Steps, title

_NO_SPACE = "no space left on device"
#: What builders say when the context lacks what COPY or ADD names.
_NOT_IN_CONTEXT = re.compile(
    r'"/?([^"]+)"[^"]*: not found|COPY failed: .*?stat (?:\S*?/tmp/docker-builder\d+/)?([^\s:]+): |no source files were specified'
)


@dataclass
class BuildJob:
    """`manifest` says what is built. `secrets`: id -> path of a file on this host. `labels`: the recipe's and our own."""

    context: str
    dockerfile_path: str
    manifest: Manifest
    labels: Mapping[str, str]
    secrets: Mapping[str, str]
    network: str | None
    extra_hosts: Mapping[str, str]
    cache_from: Iterable[str]
    no_cache: bool
    log_path: str
    timeout_s: int

    @property
    def recipe(self) -> Recipe:
        return self.manifest.recipe


def failure(engine: Engine, job: BuildJob, steps: Steps, words: str) -> GoldenJobsError:
    """One sentence about a failed build: the instruction, its line and why; then its last output. `words`: the builder's own last ones."""
    step = steps.failed or next((step for step in steps.of_dockerfile if step.running), None)
    log = f"; the whole log is {job.log_path}."
    tail = list(step.tail) if step else []
    details = {"log": job.log_path, "failed_step": step.name if step else None, "tail": tail}
    place = job.dockerfile_path
    instruction = None
    if step:
        found = dockerfile.locate(job.recipe.dockerfile, step.instruction)
        place += f", line {found.line}" if found else ""
        instruction = title(step.instruction, 200)
    where = f"at {place}" + (f": {instruction}" if instruction else "")
    error = (step.error if step else None) or words
    if not engine.answers():
        return GoldenJobsError(f"The Docker engine stopped answering in the middle of the build {where}{log}", **details)
    if _NO_SPACE in "\n".join([error, words, *tail]).lower():
        return GoldenJobsError(
            f"No space is left on the disk while building {where}: make room where the engine keeps its data ({engine.data_root()}), "
            f"for example by docker system prune{log}",
            **details,
        )
    if step and step.instruction.split(" ")[0] in ("COPY", "ADD") and (missing := _NOT_IN_CONTEXT.search(f"{error}\n{words}")):
        source = missing.group(1) or missing.group(2) or "its source"
        return GoldenJobsError(
            f"The build failed {where}: the context {job.context} has no {source!r}, or .dockerignore excludes it{log}", **details
        )
    here = next((each for each in dockerfile.parse(job.recipe.dockerfile) if dockerfile.here_documents(each)), None)
    if here and not step and "unknown instruction" in error:
        return GoldenJobsError(
            f"{place}, line {here.line}: {here.keyword} uses a here-document, which needs BuildKit on an engine of version 23 or later "
            f"(this one is {engine.version()}): write the commands with && instead{log}",
            **details,
        )
    code = re.search(r"(?:exit code: |returned a non-zero code: )(\d+)", error)
    reason = f" ended with exit code {code.group(1)}" if code else f": {error.strip().rstrip('.')}"
    if not step:
        return GoldenJobsError(f"The build of {place} failed{reason}{log}", **details)
    return GoldenJobsError(f"The build failed {where}{reason}{log}" + "".join(f"\n{line}" for line in tail), **details)

"""Requirements files of pip and uv, read before a build so that a broken line is said with its number. Control node only."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass

from .errors import GoldenJobsError

with contextlib.suppress(ImportError):  # comes with ansible-core; build servers have no use for it
    from packaging import requirements

_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION = re.compile(r"\s+--?\w.*$")
#: `pip install` takes them without a name.
_FILE_OR_URL = re.compile(r"^(\.|/|[a-z+]+://)|\.(whl|zip|tar\.gz)$")


@dataclass(frozen=True)
class Requirement:
    """One distribution that a file asks for. `conditional`: only where its environment marker holds."""

    name: str
    conditional: bool


def parse(text: str, where: str) -> list[Requirement]:
    """The distributions of a requirements file. `where` is its name in the message of the GoldenJobsError for a broken line."""
    found: list[Requirement] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        start = start if pending else number
        line = pending + _COMMENT.sub("", raw)
        if line.endswith("\\"):
            pending = line[:-1]
            continue
        pending = ""
        line = line.strip()
        if not line or line.startswith("-") or ("@" not in line and _FILE_OR_URL.search(line)):
            continue
        try:
            parsed = requirements.Requirement(_OPTION.sub("", line))
        except requirements.InvalidRequirement as error:
            why = str(error).splitlines()[0].rstrip(".")
            raise GoldenJobsError(
                f"{where}:{start}: {line!r} is not a requirement ({why}): write NAME, NAME==1.2 or NAME>=1.2,<2."
            ) from error
        found.append(Requirement(parsed.name, parsed.marker is not None))
    return found


def is_used(name: str, dockerfile: str) -> bool:
    """Whether a Dockerfile names this file of the context; not where one is only mounted to, as in target=/tmp/requirements.txt."""
    return bool(re.search(rf"(?<![\w./-])(?:\./)?{re.escape(name)}(?![\w.-])", dockerfile))

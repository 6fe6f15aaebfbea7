"""A running job that was made by hand becomes a course: its job file and its entry in the catalogue. Pure; no secret is written."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import golden_job, protocol, secret_scan
from .errors import GoldenJobsError

try:
    import yaml
except ImportError:  # protocol.load_text says in one sentence what is missing
    yaml = None  # type: ignore[assignment]

_SECRET = re.compile(r"\$secrets\.([A-Za-z0-9_-]+)")
_ENTRY_INDENT = "    "


def adopt(
    config: Mapping[str, Any], course: str, where: str, *, title: str = "", dockerfile: str = "", allow: Iterable[str] = ()
) -> dict[str, Any]:
    """`{path, job_text, entry, secrets, image}` for a cluster's config of a job.

    `path`: of the job file, relative to the project. `entry`: the course's lines for inventory/courses.yml. `secrets`: names that
    the job refers to, to be supplied by the inventory. `where` says which job it is. `allow`: names of options that may stand in
    the file although they look like secrets. Raises GoldenJobsError.
    """
    golden_job.check_course(course)
    job = protocol.clone(dict(config), where)
    images = [item for item in job.get("prerequisites") or [] if isinstance(item, dict) and item.get("type") == "dockerimage"]
    for item in images:
        item.pop("auth", None)  # a rollout fills in the login of the course's registry
    first: dict[str, Any] = next(iter((job.get("taskRoles") or {}).values()), {})
    image = next((item for item in images if item.get("name") == first.get("dockerImage")), None)
    if image is None:
        raise GoldenJobsError(f"The {where} has no dockerimage for its first task role, so there is nothing to build for a course.")
    for place, text in _texts(job):
        finding = next(secret_scan.in_history([text], allow), None)
        if finding:
            raise GoldenJobsError(
                f"The {where} holds a secret in {place} ({finding.name}), which must not get into a file: submit the job with it as a secret "
                f"of the protocol (<% $secrets.name %>), or allow it with -e adopt_allow={finding.name} if it is none."
            )
    _host, name = protocol.split_registry(str(image["uri"]))
    repository, version = (
        name.partition("@")[0].rpartition(":")[::2] if ":" in name.partition("@")[0] else (name.partition("@")[0], "latest")
    )
    job["name"] = f"golden-{course}"
    secrets = sorted({found for _place, text in _texts(job) for found in _SECRET.findall(text)})
    path = f"yamls/{course}-{re.sub(r'[^A-Za-z0-9.-]+', '-', repository.rpartition('/')[2])}.yaml"
    return {
        "path": path,
        "job_text": _head(where, secrets) + protocol.dump_yaml(job),
        "entry": _entry(course, title or course, repository, version, path, dockerfile),
        "secrets": secrets,
        "image": image["uri"],
    }


def _head(where: str, secrets: list[str]) -> str:
    lines = [f"# Adopted from the {where}.", "# A rollout fills in name, image, virtual cluster and registry login."]
    if secrets:
        lines.append(
            f"# Secrets to be supplied by the inventory (golden_job_secrets of the clusters, from the vault): {', '.join(secrets)}"
        )
    return "\n".join(lines) + "\n"


def _entry(course: str, title: str, repository: str, version: str, path: str, dockerfile: str) -> str:
    """The lines of one host of the group `courses`."""
    line = f"course_dockerfile: {dockerfile}"
    if not dockerfile:
        line = f"# course_dockerfile: dockerfiles/{course}/Dockerfile.j2 # to be written: the image was made elsewhere"
    values = [
        f"course_title: {_scalar(title)}",
        line,
        f"course_image: {_scalar(repository)}",
        f"course_version: {_scalar(version)}",
        f"course_job: {_scalar(path)}",
    ]
    return "".join([f"{_ENTRY_INDENT}{course}:\n", *(f"{_ENTRY_INDENT}  {value}\n" for value in values)])


def _scalar(value: str) -> str:
    """A text as one YAML word, quoted where it has to be."""
    return str(yaml.safe_dump(value, width=1_000_000, allow_unicode=True)).splitlines()[0]


def with_entry(catalogue: str, course: str, entry: str) -> str:
    """The catalogue's text with the entry after the last course; every other character stays. Raises GoldenJobsError."""
    before = yaml.safe_load(catalogue)
    hosts = ((before or {}).get("courses") or {}).get("hosts") if isinstance(before, dict) else None
    if not isinstance(hosts, dict):
        raise GoldenJobsError("The catalogue inventory/courses.yml has no map courses.hosts to add a course to.")
    if course in hosts:
        raise GoldenJobsError(f"The course {course} is in the catalogue already; choose another name.")
    lines = catalogue.splitlines(keepends=True)
    place, column = _end_of(catalogue)
    if not lines[place - 1].endswith("\n"):
        lines[place - 1] += "\n"
    indented = textwrap.indent(textwrap.dedent(entry), " " * column)
    text = "".join([*lines[:place], indented, *lines[place:]])
    try:
        after = yaml.safe_load(text)
    except yaml.YAMLError:
        after = None
    wanted = {**before, "courses": {**before["courses"], "hosts": {**hosts, **yaml.safe_load(entry)}}}
    if after != wanted:
        raise GoldenJobsError(
            "The catalogue inventory/courses.yml is not written as expected (courses, hosts, and a block per course); add this by hand:\n"
            + entry
        )
    return text


def _end_of(catalogue: str) -> tuple[int, int]:
    """Number of the line after the last course of `courses.hosts`, from 0, and the column of the courses' names."""
    hosts = _value(_value(yaml.compose(catalogue, Loader=yaml.SafeLoader), "courses"), "hosts")
    last = hosts
    while isinstance(last, yaml.CollectionNode) and last.value:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    # What ends at the beginning of a line is a block of text, which ended on the line before.
    return last.end_mark.line + (last.end_mark.column > 0), hosts.value[0][0].start_mark.column if hosts.value else len(_ENTRY_INDENT)


def _value(mapping: Any, key: str) -> Any:
    return next(value for name, value in mapping.value if name.value == key)


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every text of the job and where it stands."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{place}[{number}]")
    elif isinstance(value, str):
        yield place, value

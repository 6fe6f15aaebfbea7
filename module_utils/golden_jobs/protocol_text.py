"""Job files as text: read with the line of every value, written in the form that the server masks, compared, named."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from .errors import GoldenJobsError

try:
    import yaml
except ImportError:  # reported as one sentence by `_need_yaml`
    yaml = None  # type: ignore[assignment]

#: Keys and indexes that lead to a place in the document.
Path = tuple[Any, ...]

#: What `GET .../config` shows instead of the map of secrets.
MASK = "******"
#: express refuses larger bodies (413).
BODY_LIMIT_BYTES = 102_400
#: More values than a job file of that size can hold; aliases can make a short text into very many.
_MOST_VALUES = 100_000


class Source:
    """Where a document was written: a name for people and the line of every path in it."""

    def __init__(self, name: str, lines: dict[Path, int] | None = None) -> None:
        self.name = name
        self.lines = lines or {}

    def at(self, path: Iterable[Any]) -> str:
        """`yamls/OOB3-aiedu.yaml, line 12, taskRoles.jupyter`; without a line when a merge made the value."""
        path = tuple(path)
        line = next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), None)
        return ", ".join([self.name, *([f"line {line}"] if line else []), *([show_path(path)] if path else [])])


def show_path(path: Iterable[Any]) -> str:
    """`('taskRoles', 'jupyter', 'commands', 0)` as `taskRoles.jupyter.commands[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def load_text(text: str, name: str = "job") -> tuple[dict[str, Any], Source]:
    """Parse a job file the way the server does (YAML 1.2 words, no duplicate keys).

    Raises GoldenJobsError with the line for YAML that cannot be read; does not validate.
    """
    _need_yaml()
    try:
        loader = _loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise GoldenJobsError(f"{name}: a job file is one YAML map with protocolVersion, name, type and taskRoles.")
        lines: dict[Path, int] = {}
        _note_lines(node, (), lines, name, ())
        return with_text_keys(loader.construct_document(node)), Source(name, lines)
    except RecursionError:
        raise GoldenJobsError(f"{name}: not readable as YAML (it is nested too deeply).") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}" if mark else name
        reason = "; ".join(part for part in (error.context, error.problem) if part)
        raise GoldenJobsError(f"{where}: not readable as YAML ({reason}).") from None
    except yaml.YAMLError as error:
        raise GoldenJobsError(f"{name}: not readable as YAML ({' '.join(str(error).split())}).") from None


def load_file(path: str, name: str | None = None) -> tuple[dict[str, Any], Source]:
    """`load_text` of a file; a missing or unreadable file is one sentence, too."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise GoldenJobsError(f"{name or path}: the job file cannot be read ({getattr(error, 'strerror', None) or error}).") from None
    return load_text(text, name or path)


def _need_yaml() -> None:
    if yaml is None:
        raise GoldenJobsError("The Python package PyYAML is missing where this module runs: pip install PyYAML.")


def _loader(text: str) -> Any:
    """A safe loader that reads plain `yes`, `on`, `1:30` and dates as text and `1e3` as a number, as the server does."""

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OWN_TAGS]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^(?:[-+]?[0-9]+|[-+]?0x[0-9a-fA-F]+)$"), list("-+0123456789"))
    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+0123456789."),
    )
    return Loader(text)


_OWN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "timestamp")}


def _note_lines(node: Any, path: Path, lines: dict[Path, int], name: str, parents: tuple[int, ...]) -> None:
    """Fill `lines`, and refuse what PyYAML lets through and the server answers with a 500."""
    if id(node) in parents or len(lines) > _MOST_VALUES:
        raise GoldenJobsError(
            f"{name}, line {node.start_mark.line + 1}, {show_path(path)}: this alias makes the job endless; write it out."
        )
    parents = (*parents, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, key.value if isinstance(key, yaml.ScalarNode) else str(key.tag))
            line = key.start_mark.line + 1
            if here in lines and key.value != "<<":
                raise GoldenJobsError(
                    f"{name}, line {line}, {show_path(here)}: this key is written twice (first in line {lines[here]}); keep one."
                )
            lines[here] = line
            _note_lines(value, here, lines, name, parents)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*path, index)
            lines[here] = value.start_mark.line + 1
            _note_lines(value, here, lines, name, parents)


def with_text_keys(document: Any) -> Any:
    """The document with every key as text, as in the server's JavaScript: `1` is "1", `true` is "true"."""
    if isinstance(document, dict):
        return {key if isinstance(key, str) else json.dumps(key, default=str): with_text_keys(value) for key, value in document.items()}
    if isinstance(document, list):
        return [with_text_keys(value) for value in document]
    return document


def masked(protocol: dict[str, Any]) -> dict[str, Any]:
    """The job as it may be shown: `secrets` is `"******"`, as in `GET .../config`, and so is a password in an image's `auth`."""
    shown = {key: value for key, value in protocol.items() if key != "secrets"}
    if "prerequisites" in shown:
        shown["prerequisites"] = _without_passwords(shown["prerequisites"])
    return {**shown, "secrets": MASK} if protocol.get("secrets") else shown


def _without_passwords(prerequisites: Any) -> Any:
    """Passwords that stand in an image's `auth` itself (the server never masks them) are masked here; tags stay."""

    def one(item: Any) -> Any:
        password = (item.get("auth") or {}).get("password") if isinstance(item, dict) and isinstance(item.get("auth"), dict) else None
        if not isinstance(password, str) or "<%" in password:
            return item
        return {**item, "auth": {**item["auth"], "password": MASK}}

    return [one(item) for item in prerequisites] if isinstance(prerequisites, list) else prerequisites


def same_job(protocol: dict[str, Any], config: dict[str, Any]) -> bool:
    """Does a cluster's config (secrets masked there) hold this job? Key order and 1 versus 1.0 do not count."""
    return masked(protocol) == masked(config)


def differences(wanted: Any, found: Any, path: Path = ()) -> list[str]:
    """Paths at which two jobs differ, maps and lists of one length followed down to what is not the same."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = [*wanted, *(key for key in found if key not in wanted)]
        return [place for key in keys for place in differences(wanted.get(key), found.get(key), (*path, key))]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [place for index, pair in enumerate(zip(wanted, found)) for place in differences(*pair, (*path, index))]
    return [] if wanted == found else [show_path(path)]


def dump_yaml(protocol: dict[str, Any], *, checked: bool = True) -> str:
    """Block YAML with plain keys and `secrets` last: the one form in which the server masks them (it uses a text pattern).

    Raises GoldenJobsError above the server's body limit, if `checked`.
    """
    _need_yaml()
    ordered = {key: value for key, value in protocol.items() if key != "secrets"}
    if protocol.get("secrets"):
        ordered["secrets"] = protocol["secrets"]
    text = yaml.dump(ordered, Dumper=_dumper(), default_flow_style=False, sort_keys=False, allow_unicode=True, width=1_000_000)
    size = len(text.encode())
    if checked and size > BODY_LIMIT_BYTES:
        raise GoldenJobsError(
            f"The job {protocol.get('name')!r} has {size} bytes as YAML; OpenPAI takes at most {BODY_LIMIT_BYTES}. "
            "Put long scripts into the image or fetch them in a command."
        )
    return text


def _dumper() -> Any:
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        # A text that looks like a number to some YAML reader (a password like 1e5) stays a text when it is quoted.
        style = "|" if "\n" in value else "'" if value[:1] in tuple("0123456789+-.") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def revision(image_reference: str, protocol: dict[str, Any]) -> str:
    """What a Golden Job runs, as 8 hex digits: the image reference and the effective job without its name.

    Values of secrets are left out (their names count), so a new registry password is no new revision.
    """
    job = {key: value for key, value in protocol.items() if key != "name"}
    if isinstance(job.get("secrets"), dict):
        job["secrets"] = sorted(job["secrets"])
    text = json.dumps({"image": image_reference, "job": job}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]

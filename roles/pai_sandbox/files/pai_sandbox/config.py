"""Settings of several sandboxes from one file: ``{"clusters": [{"name": …, "port": …, …}]}`` in YAML or JSON."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from .settings import BASIC, OIDC, Node, Settings, Storage

_PATHS = ("state_dir", "users_file", "faults_file", "rules_file", "tls_cert", "tls_key")
_REQUIRED = ("name", "state_dir", "users_file")
_NAMES = [field.name for field in fields(Settings)]
_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int": (int,), "float": (int, float)}
_WORDS = {"str": "text", "bool": "true or false", "int": "a whole number", "float": "a number"}


def _check_keys(where: str, entry: Any, allowed: list[str], required: tuple[str, ...]) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: not a map; allowed keys: {', '.join(allowed)}")
    for key in entry:
        if key not in allowed:
            raise ValueError(f"{where}: unknown key {key}; allowed: {', '.join(allowed)}")
    for key in required:
        if not entry.get(key):
            raise ValueError(f"{where}: {key} is missing")


def _check_values(where: str, entry: dict[str, Any], kinds: dict[str, str]) -> None:
    for key, value in entry.items():
        kind = kinds.get(key, "")
        allowed = _KINDS.get(kind)
        if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and kind != "bool")):
            raise ValueError(f"{where}: {key} is {value!r}; allowed: {_WORDS[kind]}")


def _things(where: str, key: str, kind: type[Any], entries: Any) -> tuple[Any, ...]:
    """The nodes or the storages of a cluster."""
    kinds = {field.name: str(field.type) for field in fields(kind)}
    required = tuple(field.name for field in fields(kind) if field.default is MISSING)
    if not isinstance(entries, list):
        raise ValueError(f"{where}: {key} is not a list of maps with {', '.join(kinds)}")
    for entry in entries:
        _check_keys(f"{where}, {key}", entry, list(kinds), required)
        _check_values(f"{where}, {key}", entry, kinds)
    return tuple(kind(**entry) for entry in entries)


def settings_from(where: str, entry: Any) -> Settings:
    """The settings of one entry; ``ValueError`` with a sentence that begins with ``where`` when it is not as it must be."""
    _check_keys(where, entry, _NAMES, _REQUIRED)
    _check_values(where, entry, {field.name: str(field.type) for field in fields(Settings)})
    if entry.get("authn", BASIC) not in (BASIC, OIDC):
        raise ValueError(f"{where}: authn is {entry['authn']}; allowed: {BASIC}, {OIDC}")
    if ("tls_cert" in entry) != ("tls_key" in entry):
        raise ValueError(f"{where}: tls_cert and tls_key belong together")
    values: dict[str, Any] = {key: Path(value) if key in _PATHS and value is not None else value for key, value in entry.items()}
    values["state_dir"] = values["state_dir"].resolve()
    for key, kind in (("nodes", Node), ("storages", Storage)):
        if key in values:
            values[key] = _things(where, key, kind, values[key])
    return Settings(**values)


def read_config(path: Path) -> list[Settings]:
    """The sandboxes of a file. Raises ``ValueError`` with a sentence for anything that is not as it must be."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    entries = document.get("clusters") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path}: has no list "clusters" with at least one cluster')
    found = [settings_from(f"{path}, cluster {number}", entry) for number, entry in enumerate(entries, 1)]
    for what in ("name", "port", "state_dir"):
        values = [getattr(settings, what) for settings in found]
        double = next((value for value in values if values.count(value) > 1), None)
        if double is not None:
            raise ValueError(f"{path}: two clusters have the same {what} {double}")
    return found

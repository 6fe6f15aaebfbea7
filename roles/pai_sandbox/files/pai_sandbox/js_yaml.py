"""YAML as js-yaml 3.13 reads it: 1.2 core words, no duplicate keys, keys are strings."""

from __future__ import annotations

import re
from typing import Any

import yaml

from .errors import PaiError

_BOOLEANS = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_FLOATS = re.compile(
    r"^(?:[-+]?(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_BOOL_TAG = "tag:yaml.org,2002:bool"
_FLOAT_TAG = "tag:yaml.org,2002:float"


class _Loader(yaml.SafeLoader):
    """SafeLoader with js-yaml's scalar words."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL_TAG, _FLOAT_TAG)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL_TAG, _BOOLEANS, list("tTfF"))
_Loader.add_implicit_resolver(_FLOAT_TAG, _FLOATS, list("-+0123456789."))


def _snippet(text: str, index: int) -> str:
    """The line around an index with a caret below, cut to 75 characters like js-yaml does."""
    index = min(index, len(text))
    start = max(text.rfind("\n", 0, index) + 1, index - 36)
    end = text.find("\n", index)
    end = min(len(text) if end < 0 else end, index + 36)
    return f"    {text[start:end]}\n    {' ' * (index - start)}^"


def _fault(text: str, problem: str, mark: yaml.Mark | None) -> PaiError:
    if mark is None:
        return PaiError(500, None, problem)
    place = f"at line {mark.line + 1}, column {mark.column + 1}"
    return PaiError(500, None, f"{problem} {place}:\n{_snippet(text, mark.index)}")


def _js_key(key: Any) -> str:
    if key is None:
        return "null"
    if isinstance(key, bool):
        return "true" if key else "false"
    return str(key)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
    seen: set[str] = set()
    for key_node, _value in node.value:
        if key_node.tag == "tag:yaml.org,2002:merge":
            continue
        key = _js_key(loader.construct_object(key_node, deep=True))
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, "duplicated mapping key", key_node.start_mark)
        seen.add(key)
    loader.flatten_mapping(node)
    return {
        _js_key(loader.construct_object(key_node, deep=True)): loader.construct_object(value_node, deep=True)
        for key_node, value_node in node.value
    }


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def safe_load(text: str) -> Any:
    """The document; ``PaiError`` 500 without a code for broken YAML, as the server answers it."""
    # js-yaml takes a tab before a key for separation, not for indentation: such a line counts as not indented.
    readable = re.sub(r"^\t+", "", text, flags=re.MULTILINE)
    try:
        return yaml.load(readable, Loader=_Loader)  # noqa: S506 - derived from SafeLoader
    except yaml.MarkedYAMLError as error:
        problem = error.problem or "bad YAML"
        if "expected ',' or ']'" in problem or "expected ',' or '}'" in problem:
            problem = "missed comma between flow collection entries"
        raise _fault(readable, problem, error.problem_mark) from error
    except yaml.reader.ReaderError as error:
        raise PaiError(500, None, "the stream contains non-printable characters") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PaiError(500, None, str(error)) from error


def mask_secrets(text: str) -> str:
    """Hide the secrets of a job file with the server's text pattern.

    It sees only an unquoted ``secrets:`` at column 0 and swallows everything up to the next line that begins with a
    word character (``rs/utils/protocolSecret.js``).
    """
    found = re.search(r"^secrets:", text, re.MULTILINE)
    if not found:
        return text
    masked = f'{text[: found.end()]} "******"'
    following = re.compile(r"^\w", re.MULTILINE | re.ASCII).search(text, found.end())
    return f"{masked}\n{text[following.start() :]}" if following else masked

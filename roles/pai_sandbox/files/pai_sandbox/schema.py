"""A JSON schema check that reports faults in the words and the order of ajv 6 (``allErrors``).

The server puts ajv's list of faults into the message of its answer, so clients may read it. Only the keywords that the
job protocol needs are here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

Fault = dict[str, Any]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}


def _fault(keyword: str, data_path: str, schema_path: str, params: dict[str, Any], message: str) -> Fault:
    return {
        "keyword": keyword,
        "dataPath": data_path,
        "schemaPath": f"{schema_path}/{keyword}",
        "params": params,
        "message": message,
    }


def _fragment(key: str) -> str:
    return quote(key.replace("~", "~0").replace("/", "~1"), safe="!*'()")


def _key_path(key: str) -> str:
    return f".{key}" if re.fullmatch(r"[a-zA-Z_$][\w$]*", key, re.ASCII) else f"['{key}']"


def _check_object(schema: dict[str, Any], value: dict[str, Any], data_path: str, path: str) -> list[Fault]:
    faults: list[Fault] = []
    least = schema.get("minProperties", 0)
    if len(value) < least:
        message = f"should NOT have fewer than {least} properties"
        faults.append(_fault("minProperties", data_path, path, {"limit": least}, message))
    for name in schema.get("required", []):
        if name not in value:
            message = f"should have required property '{name}'"
            faults.append(_fault("required", data_path, path, {"missingProperty": name}, message))
    properties = schema.get("properties", {})
    patterns = schema.get("patternProperties", {})
    if schema.get("additionalProperties") is False:
        for key in value:
            if key not in properties and not any(re.search(pattern, key) for pattern in patterns):
                message = "should NOT have additional properties"
                faults.append(_fault("additionalProperties", data_path, path, {"additionalProperty": key}, message))
    for name, inner in properties.items():
        if name in value and isinstance(inner, dict):
            faults += check(inner, value[name], data_path + _key_path(name), f"{path}/properties/{_fragment(name)}")
    for pattern, inner in patterns.items():
        for key, item in value.items():
            if re.search(pattern, key):
                faults += check(inner, item, f"{data_path}['{key}']", f"{path}/patternProperties/{_fragment(pattern)}")
    return faults


def _check_array(schema: dict[str, Any], value: list[Any], data_path: str, path: str) -> list[Fault]:
    faults: list[Fault] = []
    least = schema.get("minItems", 0)
    if len(value) < least:
        message = f"should NOT have fewer than {least} items"
        faults.append(_fault("minItems", data_path, path, {"limit": least}, message))
    if "items" in schema:
        for index, item in enumerate(value):
            faults += check(schema["items"], item, f"{data_path}[{index}]", f"{path}/items")
    return faults


def _check_scalar(schema: dict[str, Any], value: Any, data_path: str, path: str) -> list[Fault]:
    faults: list[Fault] = []
    if isinstance(value, str):
        if "maxLength" in schema and len(value) > schema["maxLength"]:
            limit = schema["maxLength"]
            message = f"should NOT be longer than {limit} characters"
            faults.append(_fault("maxLength", data_path, path, {"limit": limit}, message))
        if "pattern" in schema and not re.search(schema["pattern"].replace("$", r"\Z"), value):
            pattern = schema["pattern"]
            message = f'should match pattern "{pattern}"'
            faults.append(_fault("pattern", data_path, path, {"pattern": pattern}, message))
    elif _is_number(value) and "minimum" in schema and value < schema["minimum"]:
        limit = schema["minimum"]
        params = {"comparison": ">=", "limit": limit, "exclusive": False}
        faults.append(_fault("minimum", data_path, path, params, f"should be >= {limit}"))
    return faults


def _check_choices(schema: dict[str, Any], value: Any, data_path: str, path: str) -> list[Fault]:
    faults: list[Fault] = []
    allowed = schema.get("enum")
    if allowed is not None and not any(type(item) is type(value) and item == value for item in allowed):
        message = "should be equal to one of the allowed values"
        faults.append(_fault("enum", data_path, path, {"allowedValues": allowed}, message))
    if "oneOf" in schema:
        branches = [check(inner, value, data_path, f"{path}/oneOf/{index}") for index, inner in enumerate(schema["oneOf"])]
        passing = [index for index, found in enumerate(branches) if not found]
        if len(passing) != 1:
            # Faults of the branches are listed only when none fits, as ajv does.
            faults += [] if passing else [fault for found in branches for fault in found]
            params = {"passingSchemas": passing[:2] or None}
            faults.append(_fault("oneOf", data_path, path, params, "should match exactly one schema in oneOf"))
    return faults


def check(schema: dict[str, Any], value: Any, data_path: str = "", path: str = "#") -> list[Fault]:
    """Everything that is wrong with a value; an empty list when it fits."""
    path = schema.get("$path", path)
    faults: list[Fault] = []
    types = schema.get("type")
    names = [types] if isinstance(types, str) else types or []
    if names and not any(_TYPES[name](value) for name in names):
        joined = ",".join(names)
        faults.append(_fault("type", data_path, path, {"type": joined}, f"should be {joined}"))
    elif isinstance(value, dict):
        faults += _check_object(schema, value, data_path, path)
    elif isinstance(value, list):
        faults += _check_array(schema, value, data_path, path)
    else:
        faults += _check_scalar(schema, value, data_path, path)
    return faults + _check_choices(schema, value, data_path, path)

"""The job protocol (version 2) as rest-server 1.8 enforces it; ``$path`` is where ajv says a shared rule stands."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_IDENTIFIER = "^[a-zA-Z_][a-zA-Z0-9_]*$"


def _base(name: str, rule: Schema) -> Schema:
    return {"$path": f"base.json#/properties/{name}", **rule}


_VERSION_2 = _base("protocolVersion", {"enum": ["2", 2]})
_NAME = _base("name", {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$", "maxLength": 255})
_VERSION = _base("version", {"type": ["string", "number"]})
_CONTRIBUTOR = _base("contributor", {"type": "string"})
_DESCRIPTION = _base("description", {"type": "string"})
_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_COMMANDS: Schema = {**_TEXTS, "minItems": 1}
_WHOLE: Schema = {"type": "integer"}


def _prerequisite(kinds: list[str], own: Schema, required: list[str], closed: bool = False) -> Schema:
    rule: Schema = {
        "type": "object",
        "properties": {
            "protocolVersion": {"enum": ["2", 2]},
            "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$", "maxLength": 255},
            "version": {"type": ["string", "number"]},
            "contributor": _TEXT,
            "description": _TEXT,
            "type": {"type": "string", "enum": kinds},
            **own,
        },
        "required": required,
    }
    return {**rule, "additionalProperties": False} if closed else rule


_PREREQUISITE: Schema = {
    "type": "object",
    "oneOf": [
        _prerequisite(["script", "output"], {"plugin": _TEXT, "require": _TEXTS, "uri": _TEXT}, ["name", "type"]),
        _prerequisite(["data"], {"plugin": _TEXT, "require": _TEXTS, "uri": _TEXTS}, ["name", "type"]),
        _prerequisite(
            ["dockerimage"],
            {
                "auth": {"type": "object", "properties": {"username": _TEXT, "password": _TEXT, "registryuri": _TEXT}},
                "uri": _TEXT,
            },
            ["name", "type", "uri"],
            closed=True,
        ),
    ],
}

_RESOURCES: Schema = {
    "type": "object",
    "properties": {
        "cpu": _WHOLE,
        "memoryMB": _WHOLE,
        "gpu": _WHOLE,
        "ports": {
            # The server forgets the type here; an object is asked for because anything else fails later anyway.
            "type": "object",
            "patternProperties": {_IDENTIFIER: _WHOLE},
            "minProperties": 1,
            "additionalProperties": False,
        },
    },
    "required": ["cpu", "memoryMB", "gpu"],
    "additionalProperties": False,
}

_TASK_ROLE: Schema = {
    "type": "object",
    "properties": {
        "protocolVersion": _VERSION_2,
        "instances": {"type": "integer", "minimum": 1},
        "completion": {
            "type": "object",
            "properties": {
                "minFailedInstances": {"type": ["integer", "null"]},
                "minSucceededInstances": {"type": ["integer", "null"]},
            },
            "additionalProperties": False,
        },
        "taskRetryCount": _WHOLE,
        "prerequisites": _TEXTS,
        "dockerImage": _TEXT,
        "data": _TEXT,
        "output": _TEXT,
        "script": _TEXT,
        "extraContainerOptions": {"type": "object", "properties": {"shmMB": _WHOLE}},
        "resourcePerInstance": _RESOURCES,
        "commands": _COMMANDS,
    },
    "required": ["dockerImage", "resourcePerInstance", "commands"],
    "additionalProperties": False,
}

_DEPLOYMENT: Schema = {
    "type": "object",
    "properties": {
        "protocolVersion": _VERSION_2,
        "name": _NAME,
        "taskRoles": {
            "type": "object",
            "patternProperties": {
                _IDENTIFIER: {
                    "type": "object",
                    "properties": {"preCommands": _COMMANDS, "postCommands": _COMMANDS},
                    "additionalProperties": False,
                }
            },
            "minProperties": 1,
            "additionalProperties": False,
        },
    },
    "required": ["name", "taskRoles"],
}

JOB_PROTOCOL: Schema = {
    "type": "object",
    "properties": {
        "protocolVersion": _VERSION_2,
        "name": _NAME,
        "type": {"type": "string", "enum": ["job"]},
        "version": _VERSION,
        "contributor": _CONTRIBUTOR,
        "description": _DESCRIPTION,
        "prerequisites": {"type": "array", "items": _PREREQUISITE, "minItems": 1},
        "parameters": {"type": "object"},
        "secrets": {"type": "object"},
        "jobRetryCount": {"type": "integer", "minimum": 0},
        "taskRoles": {
            "type": "object",
            "patternProperties": {_IDENTIFIER: _TASK_ROLE},
            "minProperties": 1,
            "additionalProperties": False,
        },
        "deployments": {"type": "array", "items": _DEPLOYMENT, "minItems": 1},
        "defaults": {"type": "object", "properties": {"deployment": _TEXT}},
        "extras": {"type": "object"},
    },
    "required": ["protocolVersion", "name", "type", "taskRoles"],
    "additionalProperties": False,
}

"""OpenPAI job protocol 2 as JSON schema, the rules that rest-server v1.8 enforces on `POST /api/v2/jobs`.

Python and not JSON, because Ansible ships only Python files of `module_utils` to a host. What a schema
cannot say (references, rules that bite inside the cluster) is in `protocol.py`.
"""

from __future__ import annotations

from typing import Any

#: For the parsed document, before any `<% ... %>` is rendered.
JOB_SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "OpenPAI job protocol v2 (as enforced by rest-server v1.8.x)",
    "type": "object",
    "required": ["protocolVersion", "name", "type", "taskRoles"],
    "additionalProperties": False,
    "properties": {
        "protocolVersion": {"$ref": "#/definitions/protocolVersion"},
        "name": {"$ref": "#/definitions/protocolName"},
        "type": {"type": "string", "const": "job"},
        "version": {"$ref": "#/definitions/version"},
        "contributor": {"type": "string"},
        "description": {"type": "string"},
        "prerequisites": {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/prerequisite"}},
        "parameters": {"type": "object"},
        "secrets": {"type": "object"},
        "jobRetryCount": {"type": "integer", "minimum": 0, "default": 0},
        "taskRoles": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "patternProperties": {"^[a-zA-Z_][a-zA-Z0-9_]*$": {"$ref": "#/definitions/taskRole"}},
        },
        "deployments": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "taskRoles"],
                "properties": {
                    "protocolVersion": {"$ref": "#/definitions/protocolVersion"},
                    "name": {"$ref": "#/definitions/protocolName"},
                    "taskRoles": {
                        "type": "object",
                        "minProperties": 1,
                        "additionalProperties": False,
                        "patternProperties": {
                            "^[a-zA-Z_][a-zA-Z0-9_]*$": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "preCommands": {"$ref": "#/definitions/commandList"},
                                    "postCommands": {"$ref": "#/definitions/commandList"},
                                },
                            }
                        },
                    },
                },
            },
        },
        "defaults": {"type": "object", "properties": {"deployment": {"type": "string"}, "virtualCluster": {}}},
        "extras": {"type": "object"},
    },
    "definitions": {
        "protocolVersion": {"enum": ["2", 2]},
        "protocolName": {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$", "maxLength": 255},
        "version": {"type": ["string", "number"]},
        "commandList": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "prerequisite": {
            "type": "object",
            "required": ["name", "type"],
            "properties": {
                "protocolVersion": {"$ref": "#/definitions/protocolVersion"},
                "name": {"$ref": "#/definitions/protocolName"},
                "type": {"enum": ["dockerimage", "data", "script", "output"]},
                "version": {"$ref": "#/definitions/version"},
                "contributor": {"type": "string"},
                "description": {"type": "string"},
            },
            "oneOf": [
                {"$ref": "#/definitions/dockerImagePrerequisite"},
                {"$ref": "#/definitions/dataPrerequisite"},
                {"$ref": "#/definitions/scriptOrOutputPrerequisite"},
            ],
        },
        "dockerImagePrerequisite": {
            "required": ["uri"],
            "additionalProperties": False,
            "properties": {
                "protocolVersion": True,
                "name": True,
                "version": True,
                "contributor": True,
                "description": True,
                "type": {"const": "dockerimage"},
                "uri": {"type": "string"},
                "auth": {
                    "type": "object",
                    "properties": {
                        "username": {"type": "string"},
                        "password": {"type": "string"},
                        "registryuri": {"type": "string", "default": "https://index.docker.io/v1/"},
                    },
                    "additionalProperties": {"type": "string"},
                },
            },
        },
        "pluginPrerequisiteCommon": {
            "properties": {"plugin": {"type": "string"}, "require": {"type": "array", "items": {"type": "string"}}}
        },
        "dataPrerequisite": {
            "allOf": [
                {"$ref": "#/definitions/pluginPrerequisiteCommon"},
                {"properties": {"type": {"const": "data"}, "uri": {"type": "array", "items": {"type": "string"}}}},
            ]
        },
        "scriptOrOutputPrerequisite": {
            "allOf": [
                {"$ref": "#/definitions/pluginPrerequisiteCommon"},
                {"properties": {"type": {"enum": ["script", "output"]}, "uri": {"type": "string"}}},
            ]
        },
        "taskRole": {
            "type": "object",
            "required": ["dockerImage", "resourcePerInstance", "commands"],
            "additionalProperties": False,
            "properties": {
                "protocolVersion": {"$ref": "#/definitions/protocolVersion"},
                "instances": {"type": "integer", "minimum": 1, "default": 1},
                "completion": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "minFailedInstances": {"type": ["integer", "null"], "default": 1},
                        "minSucceededInstances": {"type": ["integer", "null"]},
                    },
                },
                "taskRetryCount": {"type": "integer", "default": 0},
                "prerequisites": {"type": "array", "items": {"type": "string"}},
                "dockerImage": {"type": "string"},
                "data": {"type": "string"},
                "output": {"type": "string"},
                "script": {"type": "string"},
                "extraContainerOptions": {
                    "type": "object",
                    "properties": {
                        "shmMB": {"type": "integer", "default": 512},
                        "infiniband": {"type": "boolean", "default": False},
                        "additionalProperties": False,
                    },
                },
                "resourcePerInstance": {
                    "type": "object",
                    "required": ["cpu", "memoryMB", "gpu"],
                    "additionalProperties": False,
                    "properties": {
                        "cpu": {"type": "integer"},
                        "memoryMB": {"type": "integer"},
                        "gpu": {"type": "integer"},
                        "ports": {
                            "type": "object",
                            "minProperties": 1,
                            "additionalProperties": False,
                            "patternProperties": {"^[a-zA-Z_][a-zA-Z0-9_]*$": {"type": "integer"}},
                        },
                    },
                },
                "commands": {"$ref": "#/definitions/commandList"},
            },
        },
        "hivedScheduler": {
            "type": "object",
            "properties": {
                "jobPriorityClass": {"enum": ["prod", "test", "oppo"], "default": "test"},
                "gangReleaseEnable": {"type": "boolean"},
                "lazyPreemptionEnable": {"type": "boolean"},
                "ignoreK8sSuggestedNodes": {"type": "boolean"},
                "taskRoles": {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": False,
                    "patternProperties": {
                        "^[A-Za-z0-9._~]+$": {
                            "type": "object",
                            "properties": {
                                "skuType": {"type": ["string", "null"], "default": None},
                                "pinnedCellId": {"type": ["string", "null"], "default": None},
                                "affinityGroupName": {"type": ["string", "null"], "default": None},
                            },
                        }
                    },
                },
            },
        },
    },
}

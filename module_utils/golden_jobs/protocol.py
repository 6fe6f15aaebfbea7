"""OpenPAI job files (protocol version 2): read, check, merge, write, render. One name for the files `protocol_*.py`.

Everything here is pure: no network, and no file but the one that `load_file` is told to read. The rules
come from rest-server v1.8.1, from its container runtime (openpai-runtime v0.1.12) and from the web portal;
a rule that only bites inside the cluster is checked here, before anything is sent.
"""

from __future__ import annotations

from .protocol_merge import clone, effective_protocol, image_tag, merge, split_registry
from .protocol_render import task_commands, task_environment
from .protocol_rules import problems, validate
from .protocol_text import (
    BODY_LIMIT_BYTES,
    MASK,
    Source,
    differences,
    dump_yaml,
    load_file,
    load_text,
    masked,
    revision,
    same_job,
    show_path,
    with_text_keys,
)

__all__ = [
    "BODY_LIMIT_BYTES",
    "MASK",
    "Source",
    "clone",
    "differences",
    "dump_yaml",
    "effective_protocol",
    "image_tag",
    "load_file",
    "load_text",
    "masked",
    "merge",
    "problems",
    "revision",
    "same_job",
    "show_path",
    "split_registry",
    "task_commands",
    "task_environment",
    "validate",
    "with_text_keys",
]

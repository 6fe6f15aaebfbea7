"""The pictures of a branding, made without Ansible around `course_branding`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.golden_jobs import branding


def draw(dest: Path, **options: Any) -> dict[str, Any]:
    """Its result for these options."""
    taken = ArgumentSpecValidator(branding.SPEC).validate({"dest": str(dest), "product_name": "Golden Jobs", **options})
    assert not taken.error_messages, taken.error_messages
    return branding.run(taken.validated_parameters, "OOB3", False)

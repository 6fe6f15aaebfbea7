"""docker_build: decide by the context digest whether an image has to be built, and build it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import buildkit, dockerfile
from .context import Recipe, context_digest, immutable_tag
from .engine import ENGINE_SPEC, Engine, check_repository, check_tag, registry_host
from .errors import GoldenJobsError
from .progress import Progress, seconds
from .runner import PROGRESS_SPEC

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "context": {"type": "path", "required": True},
    "dockerfile": {"type": "path"},
    "build_args": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "secrets": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": {
        "id": {"type": "str", "required": True},
        "file": {"type": "path"},
        "content": {"type": "str", "no_log": True},
    }},
    "target": {"type": "str"},
    "platform": {"type": "str"},
    "network": {"type": "str"},
    "no_cache": {"type": "bool", "default": False},
    "refresh": {"type": "str"},
    "build_timeout_s": {"type": "int", "default": 7200},
    "log_path": {"type": "path"},
}  # fmt: skip


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: reference, context_digest, where the image is, what the build did."""
    params = module.params
    check_repository(params["name"])
    check_tag(params["version"])
    engine = Engine(params, registry_host(params["name"]))
    recipe, dockerfile_path = _recipe(params, engine)
    digest = context_digest(params["context"], recipe)
    tag = immutable_tag(params["version"], digest)
    check_tag(tag)
    reference = f"{params['name']}:{tag}"
    result: dict[str, Any] = {
        "changed": False,
        "reference": reference,
        "tag": tag,
        "version": params["version"],
        "context_digest": digest,
        "base_images": dict(recipe.base_images),
        "registry_digest": engine.registry_digest(reference),
        "moving_registry_digest": engine.registry_digest(f"{params['name']}:{params['version']}"),
        "image_id": None,
        "steps": [],
        "duration_s": 0.0,
    }
    local = engine.image(reference)
    if result["registry_digest"] or local:
        result["image_id"] = local["Id"] if local else None
        result["reason"] = f"{reference} is already {'in the registry' if result['registry_digest'] else 'in this engine'}"
        return result
    result["changed"] = True
    result["reason"] = f"no image of this context: {reference} is neither in the registry nor in this engine"
    result["diff"] = {"before": "", "after": f"{reference}\n"}
    if module.check_mode:
        return result
    return {**result, **_build(params, engine, recipe, dockerfile_path, reference, digest, progress)}


def _recipe(params: Mapping[str, Any], engine: Engine) -> tuple[Recipe, str]:
    path = params["dockerfile"] or os.path.join(params["context"], "Dockerfile")
    try:
        with open(path, encoding="utf-8") as handle:
            content = handle.read()
    except OSError as error:
        raise GoldenJobsError(f"The Dockerfile {path} cannot be read: {error.strerror}.") from error
    build_args = {name: str(value) for name, value in params["build_args"].items()}
    bases = dockerfile.base_images(content, build_args)
    if not bases and "FROM" not in content.upper():
        raise GoldenJobsError(f"The Dockerfile {path} has no FROM instruction: it must name the image to start from.")
    return (
        Recipe(
            dockerfile=content,
            base_images={reference: engine.base_identity(reference) for reference in bases},
            build_args=build_args,
            target=params["target"],
            platform=params["platform"],
            refresh=params["refresh"],
        ),
        path,
    )


def _build(
    params: Mapping[str, Any], engine: Engine, recipe: Recipe, dockerfile_path: str, reference: str, digest: str, progress: Progress
) -> dict[str, Any]:
    cli = buildkit.find_cli()
    started = time.monotonic()
    for base, identity in recipe.base_images.items():
        engine.ensure_pulled(base, identity)
    log_path = params["log_path"] or os.path.join(tempfile.gettempdir(), "golden-jobs", f"{reference.replace('/', '_')}.log")
    with _secret_files(params["secrets"]) as secrets:
        job = buildkit.Build(
            context=params["context"],
            dockerfile=recipe.dockerfile,
            dockerfile_name=os.path.basename(dockerfile_path),
            tag=reference,
            build_args=recipe.build_args,
            labels={**{name: str(value) for name, value in params["labels"].items()}, "golden-jobs.context-digest": digest},
            secrets=secrets,
            target=params["target"],
            platform=params["platform"],
            network=params["network"],
            no_cache=params["no_cache"],
            log_path=log_path,
            timeout_s=params["build_timeout_s"],
        )
        steps = buildkit.build(engine, cli, job, progress)
    image = engine.image(reference)
    if image is None:
        raise GoldenJobsError(f"The build ended well but the engine does not have {reference}; the log is {log_path}.", log=log_path)
    duration_s = round(time.monotonic() - started, 2)
    progress.say(f"built {reference} in {seconds(duration_s)}, {image['Size'] / 1e6:.0f} MB")
    return {
        "image_id": image["Id"],
        "size_mb": round(image["Size"] / 1e6, 1),
        "steps": [step.summary() for step in steps],
        "duration_s": duration_s,
        "builder": cli.reason,
        "log": log_path,
    }


@contextmanager
def _secret_files(secrets: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Each secret as a file of this host; contents are written to a folder of ours and removed again."""
    with tempfile.TemporaryDirectory(prefix="golden-jobs-secrets-") as private:
        files = {}
        for secret in secrets:
            if (secret["file"] is None) == (secret["content"] is None):
                raise GoldenJobsError(f"The secret {secret['id']!r} needs either `file` or `content`.")
            path = secret["file"]
            if path is None:
                path = os.path.join(private, secret["id"])
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as handle:
                    handle.write(secret["content"])
            elif not os.path.exists(path):
                raise GoldenJobsError(f"The file {path} of the secret {secret['id']!r} does not exist on this build server.")
            files[secret["id"]] = path
        yield files

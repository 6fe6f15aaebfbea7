"""docker_build: decide by the context digest whether an image has to be built, and build it."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from . import buildkit, classic, dockerfile, engine_lock, run_lock
from .build_job import BuildJob
from .context import LastImages, describe, immutable_tag
from .digest_cache import default_folder
from .engine import ENGINE_SPEC, Engine, check_repository, check_tag, registry_host, split_tag
from .errors import GoldenJobsError
from .manifest import Manifest, Recipe, diff, differences
from .progress import Progress, seconds
from .runner import PROGRESS_SPEC
from .steps import Steps

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    **run_lock.SPEC,
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "required": True},
    "tags": {"type": "list", "elements": "str", "default": []},
    "context": {"type": "path", "required": True},
    "dockerfile": {"type": "path"},
    "build_args": {"type": "dict", "default": {}},
    "labels": {"type": "dict", "default": {}},
    "secrets": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": {
        "id": {"type": "str", "required": True},
        "file": {"type": "path"},
        "content": {"type": "str", "no_log": True},
    }, "mutually_exclusive": [["file", "content"]], "required_one_of": [["file", "content"]]},
    "target": {"type": "str"},
    "platform": {"type": "str"},
    "network": {"type": "str"},
    "extra_hosts": {"type": "dict", "default": {}},
    "pull": {"type": "bool", "default": True},
    "cache_from": {"type": "list", "elements": "str", "default": []},
    "no_cache": {"type": "bool", "default": False},
    "builder": {"type": "str", "choices": ["auto", "buildkit", "classic"], "default": "auto"},
    "refresh": {"type": "str"},
    "ask_registry": {"type": "bool", "default": True},
    "min_free_mb": {"type": "int", "default": 0},
    "build_timeout_s": {"type": "int", "default": 7200},
    "log_path": {"type": "path"},
}  # fmt: skip

_MEMORY = "/dev/shm"  # noqa: S108 - a private folder is made there

_CHANGES_SHOWN = 5

#: A label of every image that this module builds.
DIGEST_LABEL = "golden-jobs.context-digest"

Builder = Callable[[BuildJob, Steps, Progress], str]


def run(module: Any, progress: Progress, *, quiet: bool = False) -> dict[str, Any]:
    """The module's result: reference, context_digest, where the image is, what the build did.

    Of the module it uses `params` and `check_mode`; `quiet` says nothing of what has changed.
    """
    params = module.params
    _check(params)
    progress.hide([params["registry_password"] or "", *(secret["content"] or "" for secret in params["secrets"])])
    engine = Engine(params, registry_host(params["name"]))
    path = params["dockerfile"] or os.path.join(params["context"], "Dockerfile")
    recipe = _recipe(params, path, engine)
    manifest = describe(params["context"], recipe, path, progress=progress)
    tag = immutable_tag(params["version"], manifest.digest)
    check_tag(tag)
    reference = f"{params['name']}:{tag}"
    image = engine.image(reference)
    in_registry, moving = (
        engine.registry_digest(f"{params['name']}:{each}") if params["ask_registry"] else None for each in (tag, params["version"])
    )
    result: dict[str, Any] = {
        "changed": False,
        "reference": reference,
        "tag": tag,
        "version": params["version"],
        "tags": [],
        "context_digest": manifest.digest,
        "base_images": dict(recipe.base_images),
        "registry_digest": in_registry,
        "moving_registry_digest": moving,
        "image_id": None,
        "steps": [],
        "duration_s": 0.0,
    }
    last = LastImages()
    course = f"{params['name']}:{params['version']}"
    if in_registry or image:
        result["reason"] = f"{reference} is already {'in the registry' if in_registry else 'in this engine'}"
    else:
        before = last.read(course)
        result["changes"] = differences(before, manifest)
        result["diff"] = diff(before, manifest)
        if before and not quiet:
            _say_changes(result["changes"], progress)
        built, image = _build(module, engine, _job(params, path, recipe, manifest, reference), reference, progress)
        result.update(built)
    if not module.check_mode and last.reference(course) != reference:
        last.write(course, manifest, reference)
    if image:
        result["image_id"] = image["Id"]
        result["size_mb"] = round(image["Size"] / 1e6, 1)
        moved = _move_tags(engine, params["name"], params["tags"], reference, image["Id"], module.check_mode)
        result["tags"] = [reference, *(f"{params['name']}:{each}" for each in params["tags"])]
        result["changed"] = result["changed"] or bool(moved)
        if moved and "diff" not in result:
            result["diff"] = {"before": "", "after": "".join(f"{each} names {reference}\n" for each in moved)}
    return result


def _say_changes(changes: list[str], progress: Progress) -> None:
    """The first few; of a changed Dockerfile (a unified diff, at the end) no more than that it changed."""
    beginning = next((number for number, line in enumerate(changes) if line.startswith("--- ")), len(changes))
    lines = changes[:beginning]
    if beginning < len(changes) and not any("Dockerfile" in line for line in lines):
        lines.insert(0, "the Dockerfile")
    for line in lines[:_CHANGES_SHOWN]:
        progress.say(f"changed: {line}")
    if len(lines) > _CHANGES_SHOWN:
        progress.say(f"changed: {len(lines) - _CHANGES_SHOWN} more, see --diff")


def _check(params: Mapping[str, Any]) -> None:
    check_repository(params["name"])
    for tag in (params["version"], *params["tags"]):
        check_tag(tag)
    for secret in params["secrets"]:
        if secret["file"] and not os.path.exists(secret["file"]):
            raise GoldenJobsError(f"The file {secret['file']} of the secret {secret['id']!r} does not exist on this build server.")


def _recipe(params: Mapping[str, Any], path: str, engine: Engine) -> Recipe:
    if not os.path.isdir(params["context"]):
        raise GoldenJobsError(f"The context {params['context']} is not a folder: docker_build needs the path of an existing folder.")
    try:
        with open(path, encoding="utf-8") as handle:
            content = handle.read()
    except OSError as error:
        raise GoldenJobsError(f"The Dockerfile {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise GoldenJobsError(f"The Dockerfile {path} is not UTF-8 text.") from error
    build_args = {name: str(value) for name, value in params["build_args"].items()}
    bases = dockerfile.base_images(content, build_args)
    if not bases and "FROM" not in content.upper():
        raise GoldenJobsError(f"The Dockerfile {path} has no FROM instruction: it must name the image to start from.")
    return Recipe(
        dockerfile=content,
        base_images={reference: engine.base_identity(reference, params["pull"]) for reference in bases},
        build_args=build_args,
        labels={name: str(value) for name, value in params["labels"].items()},
        target=params["target"],
        platform=params["platform"],
        refresh=params["refresh"],
    )


def _job(params: Mapping[str, Any], path: str, recipe: Recipe, manifest: Manifest, reference: str) -> BuildJob:
    return BuildJob(
        context=params["context"],
        dockerfile_path=path,
        manifest=manifest,
        labels={**recipe.labels, DIGEST_LABEL: manifest.digest},
        secrets={},
        network=params["network"],
        extra_hosts={host: str(address) for host, address in params["extra_hosts"].items()},
        cache_from=params["cache_from"],
        no_cache=params["no_cache"],
        log_path=params["log_path"] or os.path.join(default_folder(), "logs", f"{reference.replace('/', '_')}.log"),
        timeout_s=params["build_timeout_s"],
    )


def _build(module: Any, engine: Engine, job: BuildJob, reference: str, progress: Progress) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Build and tag with the immutable tag; nothing is tagged where the build or the context is not whole.

    The part of the result that is about the build, and the engine's description of the image (none in check mode).
    """
    params = module.params
    builder, why = _builder(params, engine, job)
    result: dict[str, Any] = {
        "changed": True,
        "reason": f"no image of this context: {reference} is neither in the registry nor in this engine",
        "builder": why,
    }
    if module.check_mode:
        return result, None
    run_lock.take_turn(params, progress)
    started = time.monotonic()
    for base, identity in job.recipe.base_images.items():
        engine.ensure_pulled(base, identity)
    steps = Steps(progress)
    try:
        os.makedirs(os.path.dirname(job.log_path) or ".", exist_ok=True)
        with open(job.log_path, "w", encoding="utf-8"):
            pass
    except OSError as error:
        raise GoldenJobsError(f"The log {job.log_path} cannot be written: {error.strerror}.") from error
    _require_space(engine, params["min_free_mb"])
    with engine_lock.building(say=progress.say), _secret_files(params["secrets"]) as job.secrets:
        image_id = builder(job, steps, progress)
    after = describe(job.context, job.recipe, job.dockerfile_path)
    if after.digest != job.manifest.digest:
        raise GoldenJobsError(
            f"The context {job.context} changed while the image was built ({'; '.join(differences(job.manifest, after)[:3])}): "
            "nothing was tagged, run the same command again.",
            log=job.log_path,
        )
    engine.call(f"The new image cannot be tagged {reference}", engine.api.tag, image_id, *split_tag(reference), force=True)
    duration_s = round(time.monotonic() - started, 2)
    image = engine.image(reference)
    if image is None:
        raise GoldenJobsError(
            f"The build ended well but the engine does not have {reference}; the log is {job.log_path}.", log=job.log_path
        )
    steps.say_slowest()
    progress.say(f"built {reference} in {seconds(duration_s)}, {image['Size'] / 1e6:.0f} MB")
    return {**result, "steps": [step.summary() for step in steps.of_dockerfile], "duration_s": duration_s, "log": job.log_path}, image


def nothing_left(result: Mapping[str, Any]) -> bool:
    """Whether a run has no more to do with this image: both its tags are in the registry, as they shall be."""
    return bool(result.get("registry_digest")) and result["registry_digest"] == result["moving_registry_digest"]


def _require_space(engine: Engine, needed_mb: int) -> None:
    """Refuse to begin a build that would end with a full disk. An engine elsewhere keeps its data where this process cannot look."""
    if not needed_mb:
        return
    root = engine.data_root()
    if not os.path.isdir(root):
        return
    free_mb = shutil.disk_usage(root).free // 1_000_000
    if free_mb < needed_mb:
        raise GoldenJobsError(
            f"{root} on {socket.gethostname()} has {free_mb} MB free, and a build shall find {needed_mb} (min_free_mb): make room first, "
            "for example with playbooks/prune.yml."
        )


def _builder(params: Mapping[str, Any], engine: Engine, job: BuildJob) -> tuple[Builder, str]:
    """The builder to use, and why that one."""
    why = "the classic builder: asked for by the option builder"
    if params["builder"] != "classic":
        try:
            cli = buildkit.find_cli(engine.cli_options())
        except GoldenJobsError as error:
            if params["builder"] == "buildkit":
                raise
            why = f"the classic builder: {str(error).rstrip('.')}"
        else:
            return (lambda *args: buildkit.build(engine, cli, *args)), cli.reason
    classic.refuse_buildkit_only(job, bool(params["secrets"]))
    return (lambda *args: classic.build(engine, *args)), why


def _move_tags(engine: Engine, name: str, tags: list[str], reference: str, image_id: str, check_mode: bool) -> list[str]:
    """Let further tags in this engine name the image; those that did not."""
    moved = []
    for tag in tags:
        known = engine.image(f"{name}:{tag}")
        if known and known["Id"] == image_id:
            continue
        moved.append(f"{name}:{tag}")
        if not check_mode:
            engine.call(f"The engine cannot tag {reference} as {tag}", engine.api.tag, reference, name, tag, force=True)
    return moved


@contextmanager
def _secret_files(secrets: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Each secret as a file of this host; contents are written to a folder of ours, in memory where there is one, and removed."""
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="golden-jobs-secrets-", dir=memory) as private:
        files = {}
        for number, secret in enumerate(secrets):
            path = secret["file"]
            if path is None:
                path = os.path.join(private, str(number))
                with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as handle:
                    handle.write(secret["content"])
            files[secret["id"]] = path
        yield files

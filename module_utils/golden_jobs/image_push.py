"""docker_push: one image under several tags in the registry, each verified by the registry's digest."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any

from .engine import ENGINE_SPEC, Engine, RegistryUnreachable, check_repository, check_tag, login_refused, registry_host
from .errors import GoldenJobsError
from .progress import Progress, seconds
from .runner import PROGRESS_SPEC

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors
    import requests.exceptions

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    "name": {"type": "str", "required": True},
    "tag": {"type": "str", "required": True},
    "moving_tags": {"type": "list", "elements": "str", "default": []},
    "attempts": {"type": "int", "default": 5},
}

#: Pause before the next attempt, in seconds; doubled each time.
FIRST_PAUSE_S = 1.0
_PROGRESS_EVERY_S = 5.0
#: What an engine says when another attempt may help (connection errors, 429, 5xx).
_PASSING = re.compile(
    r"connection refused|connection reset|EOF|timeout|timed out|broken pipe|no such host|temporar|toomanyrequests|too many requests"
    r"|received unexpected HTTP status: 5\d\d|unavailable|bad gateway|internal server error",
    re.IGNORECASE,
)


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: registry digest per tag, what moved, how much was sent."""
    params = module.params
    name, tag, moving = params["name"], params["tag"], params["moving_tags"]
    check_repository(name)
    for one in (tag, *moving):
        check_tag(one)
    engine = Engine(params, registry_host(name))
    before = {one: engine.registry_digest(f"{name}:{one}") for one in (tag, *moving)}
    result: dict[str, Any] = {
        "changed": False,
        "reference": f"{name}:{tag}",
        "digest": before[tag],
        "digests": dict(before),
        "pushed_tags": [],
        "bytes_sent": 0,
        "attempts": 0,
        "duration_s": 0.0,
    }
    result["source"] = "registry" if before[tag] else "engine" if engine.image(f"{name}:{tag}") else "absent"
    if result["source"] == "absent" and not module.check_mode:
        raise GoldenJobsError(f"There is nothing to push: {name}:{tag} is neither in this engine nor in the registry.")
    # An immutable tag is written once: when the registry has it, its image is the truth and ours is not sent.
    wanted = ([tag] if before[tag] is None else []) + [one for one in moving if before[tag] is None or before[one] != before[tag]]
    result["changed"] = bool(wanted)
    result["pushed_tags"] = wanted
    if not wanted:
        return result
    if module.check_mode:
        return {**result, "diff": _diff(name, before, dict.fromkeys(wanted, before[tag] or "the digest of the new image"))}
    started = time.monotonic()
    if (known := before[tag]) is not None:
        engine.ensure_pulled(f"{name}:{tag}", known)
    for one in wanted:
        if one != tag:
            engine.call(f"The engine cannot tag {name}:{tag} as {one}", engine.api.tag, f"{name}:{tag}", name, one, force=True)
        sent, attempts = _push(engine, name, one, params["attempts"], progress)
        result["bytes_sent"] += sent
        result["attempts"] += attempts
    after = {one: engine.registry_digest(f"{name}:{one}") for one in (tag, *moving)}
    for one, digest in after.items():
        if digest is None or digest != after[tag]:
            raise GoldenJobsError(
                f"The push was not kept: the registry answers {digest or 'nothing'} for {name}:{one}, {after[tag]} for {name}:{tag}.",
                digests=after,
            )
    result["duration_s"] = round(time.monotonic() - started, 2)
    progress.say(f"pushed {name} as {', '.join(wanted)} in {seconds(result['duration_s'])}, {result['bytes_sent'] / 1e6:.0f} MB sent")
    return {**result, "digest": after[tag], "digests": after, "diff": _diff(name, before, after)}


def _diff(name: str, before: Mapping[str, str | None], after: Mapping[str, str | None]) -> dict[str, str]:
    def lines(digests: Mapping[str, str | None]) -> str:
        return "".join(f"{name}:{tag} {digest or 'absent'}\n" for tag, digest in digests.items())

    return {"before": lines(before), "after": lines({**before, **after})}


def _push(engine: Engine, name: str, tag: str, attempts: int, progress: Progress) -> tuple[int, int]:
    """Push one tag, again after a passing fault; bytes sent and attempts needed."""
    pause_s = FIRST_PAUSE_S
    for attempt in range(1, attempts + 1):
        try:
            return _push_once(engine, name, tag, progress), attempt
        except RegistryUnreachable as error:
            if attempt == attempts:
                raise GoldenJobsError(f"{error} Given up after {attempts} attempts.") from error
            progress.say(f"{error} Trying again in {pause_s:.0f} s ({attempt} of {attempts}).")
        time.sleep(pause_s)
        pause_s *= 2
    raise GoldenJobsError(f"The option attempts is {attempts}: at least 1 is needed to push.")


def _push_once(engine: Engine, name: str, tag: str, progress: Progress) -> int:
    layers: dict[str, tuple[int, int]] = {}
    shown = time.monotonic()
    try:
        for event in engine.api.push(name, tag=tag, auth_config=engine.auth(name), stream=True, decode=True):
            if "error" in event:
                raise _refused(engine, name, tag, " ".join(event["error"].split()))
            detail = event.get("progressDetail") or {}
            if "id" in event and detail.get("current"):
                layers[event["id"]] = (detail["current"], detail.get("total") or detail["current"])
            if time.monotonic() - shown > _PROGRESS_EVERY_S and layers:
                shown = time.monotonic()
                sent, total = _sums(layers)
                progress.say(f"pushing {tag}: {sent / 1e6:.0f} of {max(total, sent) / 1e6:.0f} MB")
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise _refused(engine, name, tag, " ".join(str(error).split())) from error
    return _sums(layers)[0]


def _sums(layers: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(current for current, _ in layers.values()), sum(total for _, total in layers.values())


def _refused(engine: Engine, name: str, tag: str, text: str) -> GoldenJobsError:
    host = registry_host(name)
    if refused := login_refused(text, host, engine.auth(name)):
        return GoldenJobsError(refused)
    sentence = f"The push of {name}:{tag} failed: {text.rstrip('.')}."
    return RegistryUnreachable(sentence) if _PASSING.search(text) else GoldenJobsError(sentence)

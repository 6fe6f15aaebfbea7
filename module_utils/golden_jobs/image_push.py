"""docker_push: one image under several tags in the registry, each verified by the registry's digest."""

from __future__ import annotations

import contextlib
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import run_lock, threads
from .engine import ENGINE_SPEC, Engine, check_repository, check_tag, registry_host, words
from .errors import GoldenJobsError
from .layers import MOUNTED, PRESENT, PUSHED, Layers
from .progress import Progress, seconds
from .registry_fault import fault, is_login, refusal
from .registry_probe import Answer, Probe
from .retry import Retry, TryAgain
from .runner import PROGRESS_SPEC

with contextlib.suppress(ImportError):  # engine.Engine says in one sentence what is missing
    import docker.errors
    import requests.exceptions

SPEC: dict[str, Any] = {
    **ENGINE_SPEC,
    **PROGRESS_SPEC,
    **run_lock.SPEC,
    "name": {"type": "str", "required": True},
    "immutable_tag": {"type": "str"},
    "tags": {"type": "list", "elements": "str", "default": []},
    "image": {"type": "str"},
    "attempts": {"type": "int", "default": 5},
    "push_timeout_s": {"type": "int", "default": 3600},
}

_SHOWN_EVERY_S = 5.0
_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")

Digests = dict[str, "str | None"]


@dataclass
class Plan:
    """`push`: the tags to send, in this order. `truth`: the digest that all tags shall have, where the registry decides it.

    `image`: the engine's description of the image to send, None where there is none (yet).
    """

    push: list[str]
    source: str
    truth: str | None = None
    image: dict[str, Any] | None = None
    expected: Digests = field(default_factory=dict)


def check(params: Mapping[str, Any]) -> list[str]:
    """Refuse bad options before anything is touched; all tags, the immutable one first."""
    name, fixed, moving = params["name"], params["immutable_tag"], params["tags"]
    check_repository(name)
    tags = [*([fixed] if fixed else []), *moving]
    if not tags:
        raise GoldenJobsError(f"There is no tag to push {name} under: set immutable_tag, tags, or both.")
    for tag in tags:
        check_tag(tag)
    if len(set(tags)) != len(tags):
        twice = next(tag for tag in tags if tags.count(tag) > 1)
        raise GoldenJobsError(f"The tag {twice!r} stands twice in immutable_tag and tags: each tag is allowed once.")
    for option in ("attempts", "push_timeout_s"):
        if params[option] < 1:
            raise GoldenJobsError(f"The option {option} is {params[option]}: at least 1 is needed to push.")
    return tags


def decide(params: Mapping[str, Any], before: Digests, find: Callable[[str], dict[str, Any] | None]) -> Plan:
    """What is to be pushed. `before`: the registry's digests; `find`: the engine's description of an image, or None."""
    name, fixed = params["name"], params["immutable_tag"]
    if fixed and before[fixed]:
        # Written once: the registry's image is the truth, and ours is not sent.
        push = [tag for tag in before if before[tag] != before[fixed]]
        return Plan(push, "registry", truth=before[fixed], expected=dict.fromkeys(before, before[fixed]))
    image = find(params["image"] or f"{name}:{fixed or params['tags'][0]}")
    known = repo_digests(image, name) if image else []
    push = [tag for tag in before if before[tag] is None or before[tag] not in known]
    new = known[0] if len(known) == 1 else None
    expected = {tag: new if tag in push else before[tag] for tag in before}
    return Plan(push, "engine" if image else "absent", image=image, expected=expected)


def repo_digests(image: Mapping[str, Any], name: str) -> list[str]:
    """The digests under which the engine knows an image in this repository."""
    found = (entry.partition("@") for entry in image.get("RepoDigests") or [])
    return [digest for repository, _at, digest in found if _familiar(repository) == _familiar(name)]


def _familiar(name: str) -> str:
    """A repository as engines write it: Docker Hub's host and `library/` are left out."""
    for prefix in ("index.docker.io/", "docker.io/"):
        if name.startswith(prefix):
            name = name[len(prefix) :]
    return name[len("library/") :] if name.startswith("library/") else name


def run(module: Any, progress: Progress) -> dict[str, Any]:
    """The module's result: registry digest per tag, what moved, how much was sent."""
    params = module.params
    tags = check(params)
    if params.get("registry_password"):
        progress.hide([params["registry_password"]])
    engine = Engine(params, registry_host(params["name"]))
    push = Push(engine, params, Retry(params["attempts"], params["push_timeout_s"], "push_timeout_s", progress), progress)
    before = {tag: push.digest(tag) for tag in tags}
    plan = decide(params, before, engine.image)
    if plan.source == "absent" and not module.check_mode:
        wanted = params["image"] or f"{params['name']}:{tags[0]}"
        raise GoldenJobsError(
            f"There is nothing to push: the image {wanted} is not in this engine; build or pull it first, or set the option image."
        )
    after = plan.expected
    if plan.push and not module.check_mode:
        try:
            after = push.all(plan, before)
        except GoldenJobsError as error:
            error.details = {**push.result(), "previous": before, **error.details}
            raise
    result = {
        "changed": any(after[tag] is None or after[tag] != before[tag] for tag in tags),
        "name": params["name"],
        "reference": f"{params['name']}:{tags[0]}",
        "tags": tags,
        "digest": after[tags[0]],
        "digests": after,
        "previous": before,
        "pushed_tags": plan.push,
        "source": plan.source,
        **push.result(),
    }
    return {**result, "diff": _diff(params["name"], before, after)}


def _diff(name: str, before: Digests, after: Digests) -> dict[str, str]:
    def lines(digests: Digests, missing: str) -> str:
        return "".join(f"{name}:{tag} {digest or missing}\n" for tag, digest in digests.items())

    return {"before": lines(before, "absent"), "after": lines(after, "the digest of the new image")}


class Push:
    """Sends the tags of one repository; keeps what the result tells about it."""

    def __init__(self, engine: Engine, params: Mapping[str, Any], retry: Retry, progress: Progress) -> None:
        self._engine = engine
        self._name: str = params["name"]
        self._login = engine.auth(self._name)
        self._retry = retry
        self._timeout_s = params["push_timeout_s"]
        self._call_timeout_s = float(params["timeout_s"])
        self._progress = progress
        self._layers = Layers({}, [])
        self._started: float | None = None
        self._registry: Probe | None = None

    def result(self) -> dict[str, Any]:
        attempts = 0 if self._started is None else 1 + self._retry.repeated
        duration_s = 0.0 if self._started is None else time.monotonic() - self._started
        return {"attempts": attempts, "duration_s": round(duration_s, 2), **self._layers.result()}

    def digest(self, tag: str) -> str | None:
        """The registry's digest of a tag, asked again after a passing fault."""
        reference = f"{self._name}:{tag}"
        api: Any = self._engine.api

        def ask() -> str | None:
            api.timeout = max(1.0, min(self._call_timeout_s, self._retry.left_s))
            try:
                return self._engine.registry_digest(reference)
            except GoldenJobsError as error:
                cause = error.__cause__ or error
                if isinstance(cause, requests.exceptions.ConnectionError):
                    raise self._engine_gone(f"while {reference} was asked for in the registry", cause) from error
                what = f"The registry {registry_host(reference)} cannot be asked for {reference}"
                silent = isinstance(cause, requests.exceptions.Timeout)
                raise self._fault(reference, f"timed out after {seconds(api.timeout)}" if silent else words(cause), what) from error

        return self._retry.run(ask)

    def all(self, plan: Plan, before: Digests) -> Digests:
        """Push the plan's tags, the first with the layers; the registry's digest of each tag afterwards, verified."""
        self._started = time.monotonic()
        image = plan.image or self._pulled(str(plan.truth))
        self._layers = Layers(
            image, self._engine.call("The engine does not tell the image's history", self._engine.api.history, image["Id"])
        )
        count = len((image.get("RootFS") or {}).get("Layers") or [])
        self._progress.say(f"pushing {self._name} as {', '.join(plan.push)}: {image.get('Size', 0) / 1e6:.0f} MB in {_layers(count)}")
        expected = dict(before)
        for tag in plan.push:
            self._tag(image["Id"], tag)
            expected[tag] = self._retry.run(lambda tag=tag: self._once(tag))  # type: ignore[misc]
        if plan.truth:
            expected = dict.fromkeys(before, plan.truth)
        after = {tag: self.digest(tag) for tag in before}
        self._verify(plan, expected, after)
        pushed, present = self._layers.count(PUSHED), self._layers.count(PRESENT, MOUNTED)
        self._progress.say(
            f"pushed {self._name} as {', '.join(plan.push)} in {seconds(time.monotonic() - self._started)}, {self._layers.sent / 1e6:.0f} MB sent, "
            f"{_layers(pushed)} pushed, {present} already there"
        )
        return after

    def _verify(self, plan: Plan, expected: Digests, after: Digests) -> None:
        """Every tag has to name what was pushed, or what it named before."""
        wrong = [
            f"{digest or 'nothing'} for {tag}, where {expected[tag]} {'was pushed' if tag in plan.push else 'was before'}"
            for tag, digest in after.items()
            if digest != expected[tag]
        ]
        if wrong:
            raise GoldenJobsError(
                f"The push of {self._name} was not kept: the registry answers {' and '.join(wrong)}; somebody else may have moved it, run this again.",
                digests=after,
            )

    def _pulled(self, digest: str) -> dict[str, Any]:
        """The registry's image of this digest, fetched if the engine does not have it."""
        reference = f"{self._name}@{digest}"

        def pull() -> dict[str, Any]:
            try:
                self._engine.pull(reference)
            except GoldenJobsError as error:
                reason = self._fault(reference, str(error), f"The image {reference} cannot be pulled")
                raise (TryAgain(str(error), reason.after_s) if isinstance(reason, TryAgain) else error) from error
            found = self._engine.image(reference)
            if not found:
                raise GoldenJobsError(f"The image {reference} was pulled, but this engine does not have it.")
            return found

        found = self._engine.image(reference)
        if not found:
            self._progress.say(f"fetching {reference}: this engine does not have it, the other tags get it")
            found = self._retry.run(pull)
        return found

    def _tag(self, image_id: str, tag: str) -> None:
        api = self._engine.api
        try:
            self._engine.call(f"The engine cannot tag the image as {self._name}:{tag}", api.tag, image_id, self._name, tag, force=True)
        except docker.errors.NotFound as error:
            raise GoldenJobsError(f"The image {image_id} went away while it was pushed: build or pull it again.") from error

    def _once(self, tag: str) -> str:
        """One attempt at one tag; the digest that the engine reports."""
        reference = f"{self._name}:{tag}"
        digest: str | None = None
        shown = Shown(tag, self._layers, self._progress)
        asked_at = 0.0
        for event in self._events(tag):
            if event is None:
                shown.tick()
                continue
            if "error" in event:
                raise self._fault(reference, str(event["error"]))
            self._layers.see(event)
            status = str(event.get("status") or "")
            digest = (event.get("aux") or {}).get("Digest") or _found_digest(status) or digest
            if status.startswith("Retrying"):
                # The engine itself tries an upload again for up to a minute, also what the registry has refused for good.
                if time.monotonic() - asked_at > _SHOWN_EVERY_S:
                    shown.line(f"layer {event['id']}: {status[0].lower()}{status[1:]}")
                    self._stop_if_refused(reference)
                    asked_at = time.monotonic()
            else:
                shown.tick()
        if not digest:
            raise self._engine_gone(f"in the middle of the push of {reference}", None)
        return digest

    def _events(self, tag: str) -> Iterator[dict[str, Any] | None]:
        """The engine's events; None after each second without one. A thread reads them, so that silence cannot outlast the deadline."""
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        ended = object()
        api: Any = self._engine.api

        def read() -> None:
            timeout, api.timeout = api.timeout, None  # a registry may be silent for minutes while it stores a big layer
            try:
                try:
                    stream = api.push(self._name, tag=tag, auth_config=self._login, stream=True, decode=True)
                finally:
                    api.timeout = timeout
                for event in stream:
                    inbox.put(event)
                inbox.put(ended)
            except Exception as error:  # raised again where the events are read
                inbox.put(error)

        threads.start(read)
        while True:
            left_s = self._retry.left_s
            if left_s <= 0:
                raise GoldenJobsError(
                    f"The push of {self._name}:{tag} has not ended within push_timeout_s, {seconds(self._timeout_s)}: "
                    "give it more time, or look at the registry and the way to it."
                )
            try:
                item = inbox.get(timeout=min(1.0, left_s))
            except queue.Empty:
                yield None
                continue
            if item is ended:
                return
            if isinstance(item, docker.errors.APIError):
                raise self._fault(f"{self._name}:{tag}", words(item)) from item
            if isinstance(item, Exception):
                raise self._engine_gone(f"in the middle of the push of {self._name}:{tag}", item) from item
            yield item

    def _fault(self, reference: str, text: str, what: str = "") -> GoldenJobsError:
        """What an engine's words mean, after a look at the registry itself where they can mean two things."""
        what = what or f"The push of {reference} failed"
        answer = None
        if is_login(text):
            # An engine that is answered 429 or 5xx at the registry's front door goes on without a login.
            answer = self._ask(upload=False)
            if answer and (answer.status == 429 or answer.status >= 500):
                text = answer.words
        found = fault(text, reference, self._login, what)
        if not isinstance(found, TryAgain):
            return found
        if not answer:
            answer = self._ask()
            if refused := self._refused(answer, reference):
                return refused
        found.after_s = answer.retry_after_s if answer else None
        return found

    def _stop_if_refused(self, reference: str) -> None:
        if refused := self._refused(self._ask(), reference):
            raise refused

    def _refused(self, answer: Answer | None, reference: str) -> GoldenJobsError | None:
        """The error when the registry, asked directly, says something that no further attempt can change."""
        if not answer or answer.status < 400 or is_login(answer.words):
            return None
        return refusal(answer.words, reference, self._login)

    def _ask(self, upload: bool = True) -> Answer | None:
        """The registry's own answer; None when it cannot be had, or when it is too late to need it."""
        if self._retry.left_s <= 0:
            return None
        if self._registry is None:
            info = self._engine.call("The engine does not describe itself", self._engine.api.info)
            self._registry = Probe(self._name, self._login, info, self._engine.api.base_url)
        return self._registry.ask(upload)

    def _engine_gone(self, when: str, error: BaseException | None) -> GoldenJobsError:
        reason = f" ({words(error)})" if error else ""
        return GoldenJobsError(
            f"The Docker engine at {self._engine.address or 'the default socket'} stopped answering {when}: "
            f"start it again and repeat the push, which goes on with the layers that are missing{reason}."
        )


class Shown:
    """The progress of one tag's push: a line at least every five seconds."""

    def __init__(self, tag: str, layers: Layers, progress: Progress) -> None:
        self._tag = tag
        self._layers = layers
        self._progress = progress
        self._at = time.monotonic()
        self._sent = layers.sent

    def tick(self) -> None:
        """Show a line if it is time for one."""
        if time.monotonic() - self._at >= _SHOWN_EVERY_S:
            self.line()

    def line(self, note: str = "") -> None:
        """Show a line, for example `pushing v1.0: 120 of 588 MB, 38 MB/s, 3 of 7 layers`, with a note at its end."""
        now, layers = time.monotonic(), self._layers
        rate = max(0, layers.sent - self._sent) / max(now - self._at, 0.1)
        self._at, self._sent = now, layers.sent
        text = f"pushing {self._tag}: {layers.done / 1e6:.0f} of {layers.total / 1e6:.0f} MB, {rate / 1e6:.0f} MB/s"
        text += f", {sum(layer.done for layer in layers)} of {_layers(len(list(layers)))}"
        self._progress.say(f"{text}, {note}" if note else text)


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"


def _found_digest(status: str) -> str | None:
    match = _DIGEST.search(status)
    return match.group(1) if match else None

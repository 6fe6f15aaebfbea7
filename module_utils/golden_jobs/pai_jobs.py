"""What the module `pai_job` does: bring one job to a state."""

from __future__ import annotations

from typing import Any

from . import golden_job, protocol
from .errors import GoldenJobsError
from .pai_client import CONNECTION_SPEC, PaiClient, client_of
from .pai_submit import submit
from .pai_wait import describe, wait
from .progress import Progress
from .pulse import Pulse
from .runner import PROGRESS_SPEC

JOB_SPEC: dict[str, Any] = {
    **CONNECTION_SPEC,
    **PROGRESS_SPEC,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "default": "running", "choices": ["submitted", "running", "succeeded", "stopped"]},
    "job": {"type": "dict"},
    "job_file": {"type": "path"},
    "clone_from": {"type": "str"},
    "image": {"type": "str"},
    "virtual_cluster": {"type": "str"},
    "resources": {"type": "dict"},
    "deployment": {"type": "str"},
    "extras": {"type": "dict"},
    "secrets": {"type": "dict", "no_log": True},
    "tags": {"type": "list", "elements": "str", "default": []},
    "tags_absent": {"type": "list", "elements": "str", "default": []},
    "wait_timeout_s": {"type": "float", "default": 600.0},
    "poll_interval_s": {"type": "float", "default": 5.0},
}
#: Where the job comes from; at most one of them.
SOURCES = ("job", "job_file", "clone_from")
#: What replaces parts of it.
OVERRIDES = ("image", "virtual_cluster", "resources", "deployment", "extras", "secrets")


def ensure_job(module: Any, progress: Progress) -> dict[str, Any]:
    """Bring the job to the wanted state. Raises GoldenJobsError; nothing is changed before the job is proven right."""
    params = module.params
    _check_options(params)
    wanted = _wanted_here(params)  # before the cluster is asked anything
    with client_of(params) as client, Pulse(progress, params["name"], f"waiting for {client.address}") as pulse:
        work = _Work(client, params, pulse, check=module.check_mode)
        try:
            if params["state"] == "stopped":
                result = work.stop()
            else:
                result = work.start(_cloned(client, params) if params["clone_from"] else wanted)
        except GoldenJobsError as error:
            error.details.setdefault("changed", work.changed)
            raise
        return {"name": params["name"], "address": client.address, "user": client.user, **result}


def _check_options(params: dict[str, Any]) -> None:
    for key in ("wait_timeout_s", "poll_interval_s"):
        if params[key] <= 0:
            raise GoldenJobsError(f"The option {key} is {params[key]:g}; allowed are seconds above 0.")
    both = sorted(set(params["tags"]) & set(params["tags_absent"]))
    if both:
        raise GoldenJobsError(f"The tag {both[0]!r} stands in tags and in tags_absent; keep one of them.")
    for tag in params["tags"] + params["tags_absent"]:
        if not tag or "," in tag:
            raise GoldenJobsError(f"The tag {tag!r} is not allowed: a tag is a text without a comma, up to 512 characters.")
    if not any(params[source] for source in SOURCES):
        given = [key for key in OVERRIDES if params[key]]
        if given and params["state"] != "stopped":
            raise GoldenJobsError(f"The option {given[0]} changes a job and there is none; give one of {', '.join(SOURCES)}.")


def _wanted_here(params: dict[str, Any]) -> dict[str, Any] | None:
    """The job to submit under the module's name, or None when only an existing one or a clone is meant."""
    if params["job_file"]:
        job, source = protocol.load_file(params["job_file"])
    elif params["job"]:
        job, source = protocol.with_text_keys(params["job"]), protocol.Source(f"job of {params['name']!r}")
    else:
        return None
    return _with_overrides(job, source, params)


def _cloned(client: PaiClient, params: dict[str, Any]) -> dict[str, Any]:
    user, _tilde, name = params["clone_from"].rpartition("~")
    label = f"job {name!r} of {user or client.user} on {client.address}"
    config = client.get_config(name, user or None)
    if config is None:
        raise GoldenJobsError(f"There is no {label} to clone; write clone_from as NAME or USER~NAME of a job on this cluster.")
    return _with_overrides(protocol.clone(config, label), protocol.Source(f"clone of {label}"), params)


def _with_overrides(job: dict[str, Any], source: protocol.Source, params: dict[str, Any]) -> dict[str, Any]:
    """The effective job, proven right."""
    if not isinstance(job.get("taskRoles"), dict) or not isinstance(job.get("prerequisites", []), list):
        protocol.validate(job, source)  # cannot be merged with anything
    wanted = protocol.effective_protocol(job, name=params["name"], **{key: params[key] for key in OVERRIDES})
    protocol.validate(wanted, source)
    return wanted


class _Work:
    """One job, one call of the module."""

    def __init__(self, client: PaiClient, params: dict[str, Any], pulse: Pulse, *, check: bool) -> None:
        self.client = client
        self.params = params
        self.name = params["name"]
        self.pulse = pulse
        self.check = check
        self.changed = False

    def start(self, wanted: dict[str, Any] | None) -> dict[str, Any]:
        """Submit unless it is there, tag, wait."""
        job = self.client.get_job(self.name)
        if job is None and wanted is None:
            raise GoldenJobsError(f"There is no job {self.name!r} on {self.client.address}; give one of {', '.join(SOURCES)} to submit it.")
        extra: dict[str, Any] = {"submitted": job is None}
        if wanted is not None:
            before = "" if job is None else self._same_or_fail(wanted)
            extra["diff"] = self._diff(before, protocol.dump_yaml(protocol.masked(wanted)) if job is None else before)
            if job is None:
                self.client.require_virtual_cluster((wanted.get("defaults") or {}).get("virtualCluster") or "default")
                extra["submitted"] = self.check or self._submit(wanted)
                self.changed = self.changed or extra["submitted"]
        self._tags(job)
        if self.check:
            return self._result(job, extra)
        return self._result(self._wait(settled=not extra["submitted"]), extra)

    def stop(self) -> dict[str, Any]:
        """Tag, then stop unless it has ended; a job that does not exist does not run, either."""
        job = self.client.get_job(self.name)
        if job is None:
            return self._result(None, {})
        self._tags(job)
        asked = job["jobStatus"].get("executionType") == "STOP"
        ended = golden_job.is_final(job["jobStatus"])
        if not ended and not asked:
            self.changed = True
            if not self.check:
                self.client.stop(self.name)
                self.pulse.say("asked to stop", timed=False)
        if ended or self.check:
            return self._result(self.client.get_job(self.name) if self.changed and not self.check else job, {})
        return self._result(self._wait(), {})

    def _submit(self, wanted: dict[str, Any]) -> bool:
        made = submit(
            self.client, self.name, protocol.dump_yaml(wanted), lambda: self._holds(wanted), timeout_s=self.params["wait_timeout_s"]
        )
        self.pulse.say("submitted" if made else "was submitted by somebody else", timed=False)
        self.pulse.restart()
        return made

    def _holds(self, wanted: dict[str, Any]) -> bool | None:
        config = self.client.get_config(self.name)
        return None if config is None else protocol.same_job(wanted, config)

    def _same_or_fail(self, wanted: dict[str, Any]) -> str:
        """The existing job's config as text; an error when it is not the wanted one."""
        config = self.client.get_config(self.name)
        if config is None:
            raise GoldenJobsError(f"The config of the job {self.name!r} on {self.client.address} cannot be read; choose another name.")
        text = protocol.dump_yaml(protocol.masked(config), checked=False)
        if not protocol.same_job(wanted, config):
            places = protocol.differences(protocol.masked(wanted), protocol.masked(config))
            more = f" and {len(places) - 5} more" if len(places) > 5 else ""
            raise GoldenJobsError(
                f"The job {self.name!r} on {self.client.address} has another config (it differs in "
                f"{', '.join(places[:5])}{more}); OpenPAI never frees a name, so choose another one.",
                diff=self._diff(text, protocol.dump_yaml(protocol.masked(wanted))),
                differences=places,
                status=409,
            )
        return text

    def _diff(self, before: str, after: str) -> dict[str, str]:
        header = f"{self.name} on {self.client.address}"
        return {"before": before, "after": after, "before_header": header, "after_header": header}

    def _tags(self, job: dict[str, Any] | None) -> None:
        """Add and remove tags; each call stands alone, so an interruption between two of them is repaired by running again."""
        have = set((job or {}).get("tags") or [])
        for tag in self.params["tags"]:
            if tag not in have:
                self.changed = True
                if not self.check:
                    self.client.add_tag(self.name, tag)
        for tag in self.params["tags_absent"]:
            if tag in have:
                self.changed = True
                if not self.check:
                    self.client.remove_tag(self.name, tag)

    def _wait(self, *, settled: bool = True) -> dict[str, Any]:
        return wait(
            self.client,
            self.name,
            self.params["state"],
            self.pulse,
            timeout_s=self.params["wait_timeout_s"],
            poll_interval_s=self.params["poll_interval_s"],
            settled=settled,
        )

    def _result(self, job: dict[str, Any] | None, extra: dict[str, Any]) -> dict[str, Any]:
        return {"changed": self.changed, **describe(job), **extra}

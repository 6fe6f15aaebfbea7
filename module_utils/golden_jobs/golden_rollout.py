"""The steps of a rollout on one cluster: plan, submit, await, probe, bake, promote, retire; or undo. Several courses move together.

Each step asks the cluster what there is and touches only what has yet to be done, so a run that was interrupted after
any of them is completed by the same steps in another run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from . import golden_job, pai_detail, protocol
from .background import outcomes
from .cluster_status import golden_jobs
from .effective_job import effective_job
from .errors import GoldenJobsError
from .golden_probe import HEALTHY, Outcome, Way, check_checks, of_any_image, probe
from .pai_client import PaiClient, PaiError, client_of
from .pai_session import CONNECTION_SPEC
from .pai_submit import submit
from .pai_wait import wait
from .pulse import Pulse

Plan = dict[str, Any]
Result = TypeVar("Result")

#: Pauses between two tries of a step at a cluster in trouble; the last one repeats.
_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
#: Other numbers that are tried when a name is taken by something else.
_OTHER_NUMBERS = 5
#: Longest pause between two looks at a job.
_POLL_S = 2.0
#: While it bakes, a job is looked at this often.
_BAKE_LOOK_S = 2.0

#: Everything that the steps are told; the action plugin `golden_job` documents it.
OPTIONS: dict[str, Any] = {
    "cluster": "",
    "connection": {},
    "settings": {},
    "courses": [],
    "operator": "",
    "root": ".",
    "probes": [],
    "probe_through": "task",
    "force": False,
    "hold": "",
    "revision": "",
    "start_timeout_s": 600.0,
    "probe_timeout_s": 180.0,
    "bake_s": 30.0,
    "stop_timeout_s": 300.0,
    "patience_s": 120.0,
}


def refused(plans: list[Plan]) -> str:
    """One sentence for the courses that may not go on; empty when all may."""
    return " ".join(f"{plan['course']} on {plan['cluster']}: {plan['reason']}." for plan in plans if plan["action"] == "refused")


class _Lines:
    """What `Pulse` writes to."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say


class _Quiet(Pulse):
    """Shows only what lasts."""

    def say(self, text: str, *, timed: bool = True) -> None:
        self.note(text)


class Rollout:
    """One cluster. `options`: see OPTIONS; `say` shows a line to the operator. A context manager, as its client is."""

    def __init__(self, options: dict[str, Any], say: Callable[[str], None]) -> None:
        self.options = {**OPTIONS, **options}
        self._say = say
        params = {key: option.get("default") for key, option in CONNECTION_SPEC.items()} | self.options["connection"]
        self.client: PaiClient = client_of(params)
        way = Way(
            self.options["probe_through"],
            self.client.address,
            False if not params["validate_certs"] else params["ca_file"] or True,
            trust_env=self.options["probe_through"] == "pylon" and "//127." not in self.client.address,
        )
        self._way = way
        self._made: dict[str, dict[str, Any]] = {}
        self._checks = {
            course["name"]: check_checks(
                [*self.options["probes"], *(course.get("probes") or [])], way, self.options["root"], course.get("branding")
            )
            for course in self.options["courses"]
        }

    def __enter__(self) -> Rollout:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.client.close()

    # ------------------------------------------------------------------------------------------------ plan

    def plan(self, *, diff: bool = False) -> list[Plan]:
        """One plan per course (`golden_job.plan`) with `image`, `digest`, `checks` and, with `diff`, the live and the effective job as text.

        Proves on the way what has to hold before anything is touched: address, login, virtual cluster, a valid job.
        """
        wanted = [(course, self._effective(course)) for course in self.options["courses"]]
        jobs = self._jobs(wait_for_it=False)
        self._prove_virtual_clusters([made["job"] for _course, made in wanted])

        def one(pair: tuple[dict[str, Any], dict[str, Any]]) -> Plan:
            course, made = pair
            found = golden_job.plan(
                course["name"],
                jobs,
                made["revision"],
                self.client.user,
                digest=self._digest(course),
                strange=self._strange(course["name"], jobs, made),
                force=self.options["force"],
                hold=self.options["hold"] or course.get("hold") or "",
            )
            return self._planned(course, found, made, diff)

        return self._together(wanted, one)

    def plan_back(self, *, diff: bool = False) -> list[Plan]:
        """The same for a rollback to `revision`, or to each course's previous one."""
        jobs = self._jobs(wait_for_it=False)

        def one(course: dict[str, Any]) -> Plan:
            hold = self.options["hold"] or course.get("hold") or ""
            found = golden_job.plan_back(
                course["name"], jobs, self.options["revision"], self.client.user, force=self.options["force"], hold=hold
            )
            made = {"image": "", "job": {}}
            if found["action"] in ("submit", "resume"):
                job = self._of_source(found["source"], found["name"], course)
                made = {"image": _image(job), "job": job}
            return self._planned(course, found, made, diff)

        return self._together(self.options["courses"], one)

    def _planned(self, course: dict[str, Any], found: Plan, made: dict[str, Any], diff: bool) -> Plan:
        # Of what an image shows that an earlier state of the project made, the project knows nothing.
        earlier = bool(found.get("source")) or self._is_pinned(course["name"])
        checks = of_any_image(self._checks[course["name"]]) if earlier else self._checks[course["name"]]
        found = {**found, "image": made["image"], "digest": self._digest(course), "cluster": self.options["cluster"], "checks": checks}
        if found["action"] == "none":
            job = self.client.get_job(found["name"])
            found["url"] = golden_job.task_url(pai_detail.tasks_of(job)) if job else None
        if diff:
            found["diff"] = self._diff(found, made["job"])
        return found

    def _diff(self, found: Plan, job: dict[str, Any]) -> dict[str, str]:
        """The config of the live Golden Job against the effective one, secrets masked, names left out."""
        live = found["name"] if found["promoted"] else found["live"]
        before = self.client.get_config(live) if live else None
        label = f"{found['course']} on {self.options['cluster']}"

        def text(config: dict[str, Any] | None) -> str:
            shown = protocol.masked({key: value for key, value in (config or {}).items() if key != "name"})
            return protocol.dump_yaml(shown, checked=False) if shown else ""

        return {
            "before": text(before),
            "after": text(job) if job else text(before),
            "before_header": f"{label}, live: {live or 'none'}",
            "after_header": f"{label}, effective: {found['name']}",
        }

    def _effective(self, course: dict[str, Any]) -> dict[str, Any]:
        """`effective_job`, proven right, once per course."""
        if course["name"] in self._made:
            return self._made[course["name"]]
        written, source = protocol.load_file(str(Path(self.options["root"]) / course["template"]), course["template"])
        made = effective_job(written, course, self.options["settings"])
        protocol.validate(made["job"], source)
        protocol.dump_yaml(made["job"])
        self._made[course["name"]] = made
        return made

    def _digest(self, course: dict[str, Any]) -> str:
        """The registry's digest of the course's image; nobody has asked for that of a pinned one."""
        return "" if self._is_pinned(course["name"]) else course.get("digest") or ""

    def _is_pinned(self, course: str) -> bool:
        return bool((self.options["settings"].get("pins") or {}).get(course))

    def _strange(self, course: str, jobs: list[dict[str, Any]], made: dict[str, Any]) -> list[str]:
        """Active jobs under a name of the wanted revision that run something else: whatever a rollout submits says by whom."""

        def runs_it(name: str) -> bool:
            config = self.client.get_config(name)
            return config is not None and protocol.same_job({**made["job"], "name": name}, config)

        return [
            job["name"]
            for job in golden_job.jobs_of(course, jobs, self.client.user)
            if golden_job.is_active(job)
            and (golden_job.parse_name(job["name"]) or {}).get("revision") == made["revision"]
            and golden_job.tag_value(job, golden_job.TAG_BY) is None
            and not runs_it(job["name"])
        ]

    def _prove_virtual_clusters(self, jobs: list[dict[str, Any]]) -> None:
        for name in sorted({(job.get("defaults") or {}).get("virtualCluster") or "default" for job in jobs}):
            self._patiently(partial(self.client.require_virtual_cluster, name), wait_for_it=False)

    def _of_source(self, source: str, name: str, course: dict[str, Any]) -> dict[str, Any]:
        """The job `source` once more under another name, from its own config, with the secrets of today."""
        config = self._patiently(lambda: self.client.get_config(source))
        if config is None:
            raise GoldenJobsError(f"The config of {source} on {self.client.address} cannot be read, so it cannot be submitted again.")
        secrets = self._effective(course)["job"].get("secrets") if course.get("image") else self.options["settings"].get("secrets")
        job = protocol.effective_protocol(protocol.clone(config, f"job {source!r}"), name=name, secrets=secrets or None)
        protocol.validate(job, protocol.Source(f"config of {source}"))
        return job

    # ------------------------------------------------------------------------------------- prove the new one

    def submit(self, plans: list[Plan]) -> list[Plan]:
        """Have the new jobs on the cluster, tagged; the plans with the names that they got and `submitted`.

        Plans once more: a wave may begin long after the plan. What has nothing to do any more, or was held, has no `candidate` now.
        """
        courses = {course["name"]: course for course in self.options["courses"]}
        before = {plan["course"] for plan in plans}
        again = self.plan_back() if any("source" in plan for plan in plans) else self.plan()
        plans = [plan for plan in again if plan["course"] in before]
        if refused(plans):
            raise GoldenJobsError(refused(plans))

        def one(plan: Plan) -> Plan:
            course = courses[plan["course"]]
            if not plan["candidate"]:
                self._say(f"{plan['course']}: {plan['reason']}")
                return plan
            if plan.get("bad"):
                self._mark_bad(plan["course"], plan["bad"])
            job = self._of_source(plan["source"], plan["name"], course) if plan.get("source") else self._effective(course)["job"]
            plan = {**plan, "submitted": False}
            if plan["action"] == "submit":
                plan = self._submitted(plan, job)
            if plan["candidate"]:
                self._tag_new(plan)
            return plan

        return self._together(plans, one)

    def _submitted(self, plan: Plan, job: dict[str, Any]) -> Plan:
        """The plan once the job is there, under another number where somebody has used the name for something else."""
        for _try in range(_OTHER_NUMBERS):
            name = plan["name"]
            wanted = {**job, "name": name}

            def same(name: str = name, wanted: dict[str, Any] = wanted) -> bool | None:
                config = self.client.get_config(name)
                return None if config is None else protocol.same_job(wanted, config)

            try:
                made = submit(self.client, name, protocol.dump_yaml(wanted), same, timeout_s=self.options["patience_s"])
            except PaiError as error:
                if error.status != 409:
                    raise
                again = golden_job.plan(plan["course"], self._jobs(), plan["revision"], self.client.user, force=True)
                self._say(f"{name} is taken by another job; going on with {again['name']}")
                plan = {**plan, **{key: again[key] for key in ("name", "candidate", "live", "retire", "demote")}}
                if again["action"] != "submit":
                    return {**plan, "action": again["action"]}
                continue
            self._say(f"{name}: submitted" if made else f"{name}: was submitted by somebody else at the same time; sharing it")
            return {**plan, "submitted": made}
        raise GoldenJobsError(f"No free name for {plan['course']} on {self.client.address} after {_OTHER_NUMBERS} tries; run this again.")

    def _tag_new(self, plan: Plan) -> None:
        job = self._job(plan["name"])
        source = next((item for item in self._jobs() if item["name"] == plan["source"]), {}) if plan.get("source") else None
        digest = (plan.get("digest") or "") if source is None else golden_job.tag_value(source, golden_job.TAG_DIGEST) or ""
        tags = golden_job.submit_tags(plan["course"], self.options["operator"], digest, plan.get("bad") or "")
        have = job.get("tags") or []
        for tag in tags:
            if tag in have or any(tag.startswith(kind) and golden_job.tag_value(job, kind) is not None for kind in _ONCE):
                continue
            self._patiently(partial(self.client.add_tag, plan["name"], tag))

    def prove(self, plans: list[Plan]) -> list[Plan]:
        """The new jobs run, answer, and answer again when they have baked; the plans with `url`."""
        plans = self.probe(self.await_running(plans))
        return self.probe(self.bake(plans)) if self.options["bake_s"] > 0 else plans

    def await_running(self, plans: list[Plan]) -> list[Plan]:
        """Wait until every task of each new job runs; the plans with `url`."""

        def one(plan: Plan) -> Plan:
            with self._pulse(plan["name"], "waiting for it to run") as pulse:
                try:
                    job = wait(
                        self.client,
                        plan["name"],
                        "running",
                        pulse,
                        timeout_s=self.options["start_timeout_s"],
                        poll_interval_s=_POLL_S,
                        settled=plan["action"] == "resume",
                        # A check with a url of its own asks something else, which may answer without this job.
                        probed=any(not check.get("url") for check in plan["checks"]),
                    )
                except GoldenJobsError as error:
                    raise self._overtaken(plan) or error from None
            url = golden_job.task_url(pai_detail.tasks_of(job))
            self._say(f"{plan['name']}: runs{' at ' + url if url else ''}")
            return {**plan, "url": url}

        return self._together(plans, one)

    def probe(self, plans: list[Plan]) -> list[Plan]:
        """Raise unless every new job is healthy; the plans with `outcome`."""

        def one(plan: Plan) -> Plan:
            found = self._probed(plan["name"], plan["checks"])
            if found.outcome != HEALTHY:
                raise self._overtaken(plan) or GoldenJobsError(f"{plan['name']} is {_words(found)}", outcome=found.outcome)
            self._say(f"{plan['name']}: healthy, {found.reason}")
            return {**plan, "outcome": found.outcome}

        return self._together(plans, one)

    def bake(self, plans: list[Plan]) -> list[Plan]:
        """Leave the new jobs alone for a while; raise at once when one of them ends, or has ended and was started anew."""
        until = time.monotonic() + self.options["bake_s"]
        restarts: dict[str, int] = {}
        if self.options["bake_s"] > 0 and plans:
            self._say(f"{', '.join(plan['name'] for plan in plans)}: baking for {self.options['bake_s']:g} s")
        while (left_s := until - time.monotonic()) > 0:
            for plan in plans:
                job = self._look(plan["name"])
                if job is None:
                    continue
                before = restarts.setdefault(plan["name"], pai_detail.restarts(job))
                if golden_job.is_final(job["jobStatus"]) or pai_detail.restarts(job) > before:
                    raise self._overtaken(plan) or GoldenJobsError(f"{plan['name']} ended while it baked: it is {pai_detail.words(job)}.")
            time.sleep(max(0.0, min(left_s, _BAKE_LOOK_S, until - time.monotonic())))
        return plans

    # ---------------------------------------------------------------------------------------- let it take over

    def take_over(self, plans: list[Plan]) -> list[Plan]:
        """The new jobs become the current ones, then the ones before are stopped; the plans with `tagged` and `retired`."""
        return self.retire(self.promote(plans))

    def promote(self, plans: list[Plan]) -> list[Plan]:
        """Tag the new jobs as current, unless another run has submitted another revision meanwhile."""

        def one(plan: Plan) -> Plan:
            jobs = self._named()
            overtaken = self._overtaken(plan, jobs)
            if overtaken:
                raise overtaken
            job = next((item for item in jobs if item["name"] == plan["name"]), None) or self._job(plan["name"])
            if not golden_job.is_active(job):
                raise GoldenJobsError(f"{plan['name']} has ended before it could take over ({job['state']}).")
            tags = job.get("tags") or []
            new = [] if any(tag.startswith(golden_job.TAG_PROMOTED) for tag in tags) else [f"{golden_job.TAG_PROMOTED}{int(time.time())}"]
            if self.options["force"]:
                self._mark_good(plan["course"], plan["revision"])
            for tag in (*new, golden_job.TAG_CURRENT):
                if tag not in tags:
                    self._patiently(partial(self.client.add_tag, plan["name"], tag))
            self._say(f"{plan['name']}: is current{' at ' + plan['url'] if plan.get('url') else ''}")
            return {**plan, "promoted": True, "tagged": golden_job.TAG_CURRENT not in tags}

        return self._together(plans, one)

    def retire(self, plans: list[Plan]) -> list[Plan]:
        """Untag and stop what the current jobs have replaced, each only while its successor runs; the plans with `retired`."""

        def one(plan: Plan) -> Plan:
            jobs = self._jobs()
            ours = next((job for job in jobs if job["name"] == plan["name"]), {})
            if golden_job.is_given_up(ours):  # see `_dismissed`
                raise self._given_up(ours)
            going = golden_job.to_retire(plan["course"], jobs, plan["name"], self.client.user)
            ended = [job["name"] for job in jobs if golden_job.is_final(job)]
            never = [job["name"] for job in jobs if not golden_job.was_current(job)]
            for name in going:
                job = self._patiently(lambda: self.client.get_job(plan["name"]))
                if job is None or not (pai_detail.runs(job) and golden_job.is_active(job["jobStatus"])):
                    raise GoldenJobsError(f"{plan['name']} does not run any more ({pai_detail.words(job)}), so {name} is not stopped.")
                if name in never:  # tell the run that has begun it
                    self._give_up(name, f"{self.options['operator']} has brought up {plan['name']} instead")
                self._stop(name, untag=True, ended=name in ended)
            rival = golden_job.newer_rival(plan["course"], self._named(), plan["name"], self.client.user)
            if rival:
                by = golden_job.tag_value(rival, golden_job.TAG_BY) or "somebody"
                self._say(f"{plan['name']}: {by} has started {rival['name']} since, which replaces it if it is healthy")
            return {**plan, "retired": going}

        return self._together(plans, one)

    # ------------------------------------------------------------------------------------------------ undo

    def undo(self, plans: list[Plan], reason: str) -> list[str]:
        """Stop the new jobs that are not current and prove that each course's old one answers: one sentence per course.

        Never raises for a cluster that cannot be asked: the sentence says how far it came.
        """
        courses = {course["name"]: course for course in self.options["courses"]}

        def one(plan: Plan) -> str:
            try:
                dismissed = self._dismissed(plan, reason)
                if dismissed is None:
                    return (
                        f"{plan['name']} is current on {self.options['cluster']} and stays; the same command again completes the rollout."
                    )
                left = [*dismissed, *self._old_alive(plan, courses[plan["course"]])]
            except GoldenJobsError as error:
                left = [f"it could not be undone: {str(error).rstrip('.')}; the same command again completes it"]
            return f"{plan['name']} does not take over on {self.options['cluster']}: {', and '.join(left) or 'nothing was made'}."

        return self._together(plans, one)

    def _dismissed(self, plan: Plan, reason: str) -> list[str] | None:
        """Stop the new job; what became of it, in words. None for one that is current already: it is never stopped."""
        job = next((item for item in self._jobs() if item["name"] == plan["name"]), None)
        if job is None:
            return []
        if golden_job.is_final(job):
            self._give_up(plan["name"], reason)
            self._stop(plan["name"], untag=True, ended=True)
            return ["it has ended"]
        if golden_job.TAG_CURRENT in (job.get("tags") or []):
            return None
        # Another run may share this job and be about to promote it. It tags the job as current and then looks whether it was
        # given up before it stops the old one; here it is the other way round, so one of the two sees the other's tag.
        tag = self._give_up(plan["name"], reason)
        job = next((item for item in self._jobs() if item["name"] == plan["name"]), job)
        if golden_job.TAG_CURRENT in (job.get("tags") or []):
            self._patiently(lambda: self.client.remove_tag(plan["name"], tag))
            return None
        self._stop(plan["name"], untag=False)
        return ["it was stopped"]

    def _give_up(self, name: str, reason: str) -> str:
        """Tag a job as one that does not take over; the tag."""
        tag = golden_job.failed_tag(reason)
        self._patiently(lambda: self.client.add_tag(name, tag))
        return tag

    def _old_alive(self, plan: Plan, course: dict[str, Any]) -> list[str]:
        """Probe what is current now; bring the old one back from its own config when nothing is."""
        jobs = self._jobs()
        current = golden_job.current_job(plan["course"], jobs, self.client.user)
        if current is not None:
            found = self._probed(current["name"], of_any_image(plan["checks"])) if current["name"] != plan["name"] else Outcome(HEALTHY, "")
            return [f"{current['name']} stays current" + ("" if found.outcome == HEALTHY else f" but is {_words(found)}")]
        rival = golden_job.contender(plan["course"], jobs, self.client.user)
        if rival:
            return [f"{rival['name']} is about to take over"]
        old = next((item for item in golden_job.history(plan["course"], jobs, self.client.user) if item["promoted_s"]), None)
        name = plan["live"] or (old["name"] if old else None)
        parsed = golden_job.parse_name(name or "")
        if not name or not parsed:
            return []
        again = golden_job.plan(plan["course"], jobs, parsed["revision"], self.client.user, force=True)
        revived = {**again, "action": "submit", "source": name, "digest": "", "image": "", "checks": of_any_image(plan["checks"])}
        revived = self._submitted(revived, self._of_source(name, again["name"], course))
        self._tag_new(revived)
        [revived] = self.await_running([revived])
        found = self._probed(revived["name"], revived["checks"])
        if found.outcome != HEALTHY:
            return [f"{name} is gone and comes back as {revived['name']}, which is {_words(found)}"]
        self.promote([revived])
        self.retire([revived])
        return [f"{name} was gone and is back as {revived['name']}"]

    # ------------------------------------------------------------------------------------------ bad and held

    def _mark_bad(self, course: str, revision: str) -> None:
        """Tag every job of the revision, so that no rollout brings it back."""
        for item in golden_job.history(course, self._jobs(), self.client.user):
            if item["revision"] == revision and not item["bad"]:
                tag = golden_job.bad_tag(self.options["operator"], time.time())
                self._patiently(partial(self.client.add_tag, item["name"], tag))

    def _mark_good(self, course: str, revision: str) -> None:
        """The contrary: somebody has forced the revision, and it is healthy."""
        for item in golden_job.history(course, self._jobs(), self.client.user):
            for tag in item["tags"] if item["revision"] == revision and item["bad"] else ():
                if golden_job.is_bad_tag(tag):
                    self._patiently(partial(self.client.remove_tag, item["name"], tag))

    def hold(self, scopes: list[str], reason: str, *, check: bool = False) -> list[str]:
        """Hold courses (`*`: the whole cluster) for a reason, or lift the hold without one; lines of what was changed."""
        jobs = [job for job in self._jobs(wait_for_it=False) if job.get("username") == self.client.user]
        lines = []
        for scope in scopes:
            mine = jobs if scope == "*" else golden_job.jobs_of(scope, jobs, self.client.user)
            holds = [(job["name"], found) for job in jobs for found in map(golden_job.read_hold, job.get("tags") or []) if found]
            here = [(name, found) for name, found in holds if found["scope"] == scope]
            stale = [(name, found) for name, found in here if found["reason"] != reason or not reason]
            label = f"{'every course' if scope == '*' else scope} on {self.options['cluster']}"
            if reason and not any(found["reason"] == reason for _name, found in here):
                if not mine:
                    raise GoldenJobsError(
                        f"There is no Golden Job{'' if scope == '*' else ' of ' + scope} on {self.options['cluster']} that could carry the "
                        "hold; set golden_job_hold (a cluster) or course_hold (a course) in the inventory."
                    )
                newest = {(golden_job.parse_name(job["name"]) or {}).get("course"): job for job in sorted(mine, key=golden_job.age_key)}
                tag = golden_job.hold_tag(scope, self.options["operator"], time.time(), reason)
                for job in newest.values() if not check else ():
                    self._patiently(partial(self.client.add_tag, job["name"], tag))
                lines.append(f"{label} is held: {reason}")
            for name, found in stale if not check else ():
                self._patiently(partial(self.client.remove_tag, name, found["tag"]))
            if stale and not reason:
                lines.append(f"{label} is no longer held ({stale[0][1]['reason']})")
        return lines

    # ---------------------------------------------------------------------------------------------- the cluster

    def _stop(self, name: str, *, untag: bool, ended: bool = False) -> None:
        """Untag and stop a job and wait for its end; `ended`: it has ended already."""
        if untag:
            self._patiently(lambda: self.client.remove_tag(name, golden_job.TAG_CURRENT))
        if ended:
            return
        self._patiently(lambda: self.client.stop(name))
        with _Quiet(_Lines(self._say), name, "stopping") as pulse:  # type: ignore[arg-type]
            wait(
                self.client,
                name,
                "stopped",
                pulse,
                timeout_s=self.options["stop_timeout_s"],
                poll_interval_s=_POLL_S,
                settled=True,
            )
        self._say(f"{name}: stopped")

    def _probed(self, name: str, checks: list[dict[str, Any]]) -> Outcome:
        with self._pulse(name, "waiting for a good answer") as pulse:
            return probe(
                checks,
                lambda: self._look(name),
                self._way,
                timeout_s=self.options["probe_timeout_s"],
                note=pulse.note,
            )

    def _look(self, name: str) -> dict[str, Any] | None:
        """The job's detail, None when the cluster does not show it now."""
        try:
            return self.client.get_job(name, once=True)
        except PaiError as error:
            if not error.transient:
                raise
            return None

    def _jobs(self, *, wait_for_it: bool = True) -> list[dict[str, Any]]:
        """The user's Golden Jobs, and what else is tagged as current (made by hand, or adopted); two requests."""
        return self._patiently(lambda: golden_jobs(self.client, ()), wait_for_it=wait_for_it)

    def _named(self) -> list[dict[str, Any]]:
        """The user's Golden Jobs by name: whatever a run submits is one; one request."""
        return self._patiently(lambda: self.client.list_jobs(username=self.client.user, keyword=golden_job.NAME_PREFIX))[0]

    def _job(self, name: str) -> dict[str, Any]:
        """The job as an item of a listing; one that was just submitted may be unknown for a moment."""
        deadline = time.monotonic() + self.options["patience_s"]
        while True:
            found = self._patiently(lambda: self.client.get_job(name))
            if found:
                return pai_detail.as_item(found)
            if time.monotonic() >= deadline:
                raise GoldenJobsError(f"The job {name} is not known to {self.client.address} although it was submitted; run this again.")
            time.sleep(0.2)

    def _overtaken(self, plan: Plan, jobs: list[dict[str, Any]] | None = None) -> GoldenJobsError | None:
        """Why this run gives way: another one has submitted a job since, or has given up the one that they shared."""
        jobs = self._named() if jobs is None else jobs
        rival = golden_job.newer_rival(plan["course"], jobs, plan["name"], self.client.user)
        if rival is None:
            ours = next((job for job in jobs if job["name"] == plan["name"]), {})
            return self._given_up(ours) if golden_job.is_given_up(ours) else None
        by = golden_job.tag_value(rival, golden_job.TAG_BY) or "somebody"
        return GoldenJobsError(
            f"{by} has started {rival['name']} after {plan['name']}, and that run goes on; "
            "when it has ended, run this again if this revision shall replace it."
        )

    def _given_up(self, job: dict[str, Any]) -> GoldenJobsError:
        reason = (golden_job.tag_value(job, golden_job.TAG_FAILED) or "").rstrip(".")
        return GoldenJobsError(f"{job['name']} was given up by another run at the same time: {reason}.")

    def _patiently(self, work: Callable[[], Result], *, wait_for_it: bool = True) -> Result:
        """The result of `work`, tried again while the cluster is in trouble. Without `wait_for_it` one that is not there at all is
        given up after the client's own retries: nothing has been touched yet."""
        deadline = time.monotonic() + self.options["patience_s"]
        pauses = iter(_PAUSES_S)
        pause_s = 0.0
        while True:
            try:
                return work()
            except PaiError as error:
                gone = error.status == 0 and not wait_for_it
                if not error.transient or gone or time.monotonic() >= deadline:
                    raise
                pause_s = next(pauses, pause_s)
                self._say(f"{str(error).rstrip('.')}; trying again")
                time.sleep(max(pause_s, min(error.retry_after_s, max(0.0, deadline - time.monotonic()))))

    def _pulse(self, name: str, text: str) -> Pulse:
        return Pulse(_Lines(self._say), name, text)  # type: ignore[arg-type]

    def _together(self, items: list[Any], work: Callable[[Any], Result]) -> list[Result]:
        """`work` for all courses at once; one GoldenJobsError for all that failed."""
        if len(items) < 2:
            return [work(item) for item in items]
        self.client.whoami()  # one login, not one per thread
        found = outcomes(work, items)
        errors = [one for one in found if isinstance(one, Exception)]
        for error in errors:
            if not isinstance(error, GoldenJobsError):
                raise error
        if errors:
            raise GoldenJobsError(" ".join(str(error) for error in errors))
        return cast("list[Result]", found)


#: Tags of which a job has one: a run that shares another's job does not add its own.
_ONCE = (golden_job.TAG_BY, golden_job.TAG_DIGEST, golden_job.TAG_BACK)


def _words(found: Outcome) -> str:
    return f"{found.outcome}: {found.reason}"


def _image(job: dict[str, Any]) -> str:
    return next((str(item.get("uri")) for item in job.get("prerequisites") or [] if item.get("type") == "dockerimage"), "")

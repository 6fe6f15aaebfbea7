"""One step of a rollout, in Ansible's own worker: a cluster is asked over HTTP, which needs no module and no connection.

With `clusters` one worker takes the step on all of them at once (`each_cluster`). The step
`outcome` then gives every host its own result, so that Ansible counts changes and failures by cluster.
`library/golden_job.py` is its documentation, `module_utils/golden_jobs/golden_rollout.py` does the work.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

# Imported before Ansible forks its workers, so that none of them does it again. Who needs them says what is missing.
with contextlib.suppress(ImportError):
    import jsonschema  # noqa: F401 # pylint: disable=unused-import
    import requests  # noqa: F401 # pylint: disable=unused-import

from ansible.module_utils.golden_jobs import each_cluster, plain
from ansible.module_utils.golden_jobs.amount import amount
from ansible.module_utils.golden_jobs.effective_job import SETTINGS_SPEC
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.golden_rollout import OPTIONS, Rollout, refused
from ansible.module_utils.golden_jobs.this_run import operator

STEPS = ("plan", "plan_back", "rollout", "hold", "outcome")
SPEC = {
    "step": {"type": "str", "required": True, "choices": list(STEPS)},
    "clusters": {"type": "list", "elements": "str"},
    "options": {"type": "dict"},
    "plans_in": {"type": "str"},
    "of": {"type": "dict"},
    "connection": {"type": "dict", "no_log": True},
    "cluster": {"type": "str"},
    "settings": {"type": "dict", "options": SETTINGS_SPEC, "default": {}},
    "courses": {"type": "list", "elements": "dict", "default": []},
    "plans": {"type": "list", "elements": "dict", "default": []},
    "operator": {"type": "str", "default": ""},
    "root": {"type": "path", "default": "."},
    "probes": {"type": "list", "elements": "dict", "default": []},
    "probe_through": {"type": "str", "default": "task", "choices": ["task", "pylon"]},
    "force": {"type": "bool", "default": False},
    "hold": {"type": "str", "default": ""},
    "revision": {"type": "str", "default": ""},
    "reason": {"type": "str", "default": ""},
    "start_timeout_s": {"type": "float", "default": 600.0},
    "probe_timeout_s": {"type": "float", "default": 180.0},
    "bake_s": {"type": "float", "default": 30.0},
    "stop_timeout_s": {"type": "float", "default": 300.0},
    "patience_s": {"type": "float", "default": 120.0},
}
#: What `rollout` consists of.
ROLLOUT = ("submit", "prove", "take_over")

display = Display()


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        args = _checked(self._task.args)
        if args["step"] == "outcome":
            return args["of"]
        if args["clusters"] is None:
            return self._on(args, (task_vars or {})["inventory_hostname"])
        found = each_cluster.results(args["clusters"], lambda cluster: self._told(cluster, args), self._on, AnsibleError)
        return {"changed": False, "clusters": found}

    def _told(self, cluster, args):
        """The options of this cluster."""
        planned = {"planned": args["plans_in"]} if args["plans_in"] else {}
        options = each_cluster.options_of(self, cluster, {**args["options"], **planned})
        plans = options.pop("planned")["plans"] if planned else []
        return _checked({**options, "step": args["step"], "plans": plans})

    def _on(self, args, host):
        """The result of the step on one cluster."""
        started = time.monotonic()
        step, plans, reason = args["step"], args["plans"], args["reason"]
        cluster = args["cluster"] = args["cluster"] or host
        args["operator"] = args["operator"] or operator()
        args["connection"] = {key: value for key, value in args["connection"].items() if value is not None}
        todo = [plan for plan in plans if plan.get("candidate")]
        if step == "rollout" and (self._task.check_mode or not todo):
            return {"changed": False, "skipped": True, "plans": plans}
        records = []
        try:
            with Rollout({key: value for key, value in args.items() if key in OPTIONS}, lambda text: self._say(cluster, text)) as rollout:
                if step == "rollout":
                    result = self._rollout(rollout, todo, records)
                else:
                    with self._recorded(records, step, plans) as about:
                        result = self._step(rollout, step, reason, args)
                        about[:] = result.get("plans", plans)
        except GoldenJobsError as error:
            details = {
                key: value for key, value in error.details.items() if key in ("outcome", "status", "exit_code", "exit_meaning", "plans")
            }
            result = {"plans": plans, **details, "failed": True, "msg": str(error)}
        return {**result, "golden_job_records": records, "golden_job_seconds": round(time.monotonic() - started, 2)}

    def _rollout(self, rollout, plans, records):
        """All steps of a rollout. Whatever fails before the promotion is undone; a failure's `plans` is how far they came."""
        before = plans
        for step in ROLLOUT:
            try:
                with self._recorded(records, step, plans):
                    plans = [plan for plan in getattr(rollout, step)(plans) if plan["candidate"]]
            except GoldenJobsError as error:
                with self._recorded(records, "undo", plans):
                    sentences = rollout.undo(plans, str(error))
                raise GoldenJobsError(" ".join([str(error), *sentences]), **{**error.details, "plans": plans}) from None
        changed = any(plan.get(key) for plan in plans for key in ("submitted", "tagged", "retired"))
        return {"changed": changed, "plans": plans or before}

    def _step(self, rollout, step, reason, args):
        if step in ("plan", "plan_back"):
            plans = getattr(rollout, step)(diff=self._task.diff)
            diffs = [plan.pop("diff") for plan in plans if "diff" in plan]
            # In check mode the plan stands for the steps that would follow; Ansible shows a difference only of what changes.
            result = {"changed": bool(self._task.check_mode) and any(plan["candidate"] for plan in plans), "plans": plans}
            if refused(plans):
                raise GoldenJobsError(refused(plans))
            return {**result, "diff": [one for one in diffs if one["before"] != one["after"]]} if diffs else result
        lines = rollout.hold([course["name"] for course in args["courses"]], reason, check=self._task.check_mode)
        for line in lines:
            self._say(args["cluster"], line)
        return {"changed": bool(lines), "lines": lines}

    @contextlib.contextmanager
    def _recorded(self, records, step, plans):
        """Adds to `records` what the run record keeps: one entry per course of the list that it yields."""
        started, outcome, reason, about = time.monotonic(), "ok", "", list(plans)
        try:
            yield about
        except GoldenJobsError as error:
            outcome, reason = "failed", str(error)
            raise
        finally:
            keys = ("course", "cluster", "action", "name", "revision", "image", "digest")
            seconds = round(time.monotonic() - started, 2)
            for plan in about:
                said = {key: plan[key] for key in keys if plan.get(key)}
                records.append({**said, "step": step, "outcome": outcome, "seconds": seconds, "reason": reason or plan.get("reason", "")})

    def _say(self, cluster, text):
        display.display(f"  {cluster} {text}", color="cyan")


def _checked(args):
    """The arguments as SPEC wants them; one sentence where they are not."""
    for name, value in args.items():
        if SPEC.get(name, {}).get("type") == "float" and amount(value) is None:
            raise AnsibleActionFail(f"The {name} {value!r} (the variable golden_job_{name}) is not allowed: seconds, 0 or more.")
    taken = ArgumentSpecValidator(
        SPEC,
        required_if=[("step", "outcome", ["of"])],
        required_one_of=[["of", "clusters", "connection"]],
        required_together=[["clusters", "options"]],
    ).validate(plain.plain(args))
    if taken.error_messages:
        raise AnsibleActionFail(f"golden_job: {'; '.join(taken.error_messages)}")
    return taken.validated_parameters

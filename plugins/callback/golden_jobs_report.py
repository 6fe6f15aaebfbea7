"""Leaves a record of each run under reports/, for people, and tells a webhook. Nothing reads these records to decide."""

from __future__ import annotations

DOCUMENTATION = r"""
name: golden_jobs_report
type: notification
short_description: A record of each run, and a webhook that hears of it
description:
  - Writes C(reports/<time>-<playbook>.json) and C(.html) for every playbook of this project - who, when, git commit, inputs, what was done on which
    course and cluster, how long it took, digests and the outcome, also of a run that failed or was interrupted.
  - Values of secrets are masked. A record that cannot be written, or a webhook that does not answer, is a warning and never fails the run.
  - The webhook is described by the inventory variables C(report_webhook_url) (a secret, for the vault), C(report_webhook_form) (C(json), C(dingtalk)
    or C(wecom)), C(report_webhook_secret) (DingTalk's signature) and C(report_webhook_on) (C(changed), which includes failures, C(failed) or C(always)).
options:
  folder:
    description: Where the records are written, relative to the project.
    type: str
    default: reports
    ini: [{section: callback_golden_jobs_report, key: folder}]
    env: [{name: GOLDEN_JOBS_REPORTS}]
  keep:
    description: So many records are kept.
    type: int
    default: 500
    ini: [{section: callback_golden_jobs_report, key: keep}]
  silent:
    description: Playbooks, by name, that leave no record; status.yml leaves its own page.
    type: list
    elements: str
    default: [status]
    ini: [{section: callback_golden_jobs_report, key: silent}]
  webhook_url:
    description: Address of the webhook; before the inventory's.
    type: str
    env: [{name: GOLDEN_JOBS_WEBHOOK_URL}]
"""

import atexit
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import ansible.module_utils
from ansible import context
from ansible.plugins.callback import CallbackBase

PROJECT = Path(__file__).resolve().parents[2]
_OURS = str(PROJECT / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import report, webhook
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.managed_files import write
from ansible.module_utils.golden_jobs.plain import plain
from ansible.module_utils.golden_jobs.this_run import operator

#: Modules whose results are kept also where nothing has changed: they name images and jobs.
TELLING = ("course_context", "docker_build", "docker_push", "image_test")
#: A record is for the people of this project.
MODE = 0o640
#: A record is written anew after a step, but no more than this part of the time is spent on that; a run that is killed has the rest.
WRITING_SHARE = 0.05
#: A shorter word of an inventory is not masked: it may be part of any other.
SHORTEST_SECRET = 8
SETTINGS = ("report_webhook_url", "report_webhook_form", "report_webhook_secret", "report_webhook_on", "golden_job_operator")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "golden_jobs_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self._record = None
        self._pid = os.getpid()
        self._settings = {}
        self._secrets = []
        self._courses = self._clusters = ()
        self._began = {}
        self._unwritten = False
        self._write_after_s = 0.0

    # ------------------------------------------------------------------------------------------------------ beginning and end

    def v2_playbook_on_start(self, playbook):
        path = Path(playbook._file_name).resolve()
        if PROJECT not in path.parents or path.stem in self.get_option("silent"):
            return
        now = time.time()
        commit, dirty = _git()
        self._record = {
            "playbook": path.stem,
            "outcome": "unfinished",
            "began_s": round(now, 3),
            "seconds": 0.0,
            "by": operator(),
            "commit": commit,
            "dirty": dirty,
            "command": "",
            "check": bool(context.CLIARGS.get("check")),
            "inputs": {},
            "golden_jobs": [],
            "steps": [],
            "hosts": {},
        }
        stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime(now))
        self._path = PROJECT / self.get_option("folder") / f"{stamp}-{path.stem}"
        number = 2
        while self._path.with_name(f"{self._path.name}.json").exists():
            self._path = self._path.with_name(f"{stamp}-{path.stem}-{number}")
            number += 1
        atexit.register(self._interrupted)
        self._former = signal.signal(signal.SIGTERM, self._terminated)

    def v2_playbook_on_play_start(self, play):
        if self._record is None or self._settings:
            return
        manager = play.get_variable_manager()
        inventory = manager._inventory
        self._courses, self._clusters = (
            {host.name for host in inventory.groups[group].get_hosts()} if group in inventory.groups else set()
            for group in ("courses", "pai_clusters")
        )
        self._settings = self._read_settings(manager, inventory)
        inputs, secrets = report.masked_inputs(plain(manager.extra_vars))
        url = self.get_option("webhook_url") or self._settings.get("report_webhook_url") or ""
        self._secrets = [*secrets, *filter(None, [url, self._settings.get("report_webhook_secret")]), *self._inventory_secrets(manager)]
        self._settings["report_webhook_url"] = url
        self._record["inputs"] = report.without(self._secrets, inputs)
        self._record["command"] = " ".join(["ansible-playbook", *(shlex.quote(_argument(each, secrets)) for each in sys.argv[1:])])
        self._record["by"] = self._settings.get("golden_job_operator") or self._record["by"]
        self._write()

    def _read_settings(self, manager, inventory):
        """The webhook's settings, from the inventory; what cannot be read is a warning."""
        from ansible.template import Templar  # noqa: PLC0415

        host = inventory.get_host(min(self._clusters)) if self._clusters else inventory.get_host("localhost")
        try:
            values = manager.get_vars(host=host, include_hostvars=False)
            templar = Templar(loader=manager._loader, variables=values)
            return {name: str(templar.template(values[name]) or "") for name in SETTINGS if name in values} | {"read": "yes"}
        except Exception as error:
            self._display.warning(f"The settings of the run's record cannot be read: {type(error).__name__}.")
            return {"read": "no"}

    def _inventory_secrets(self, manager):
        """What must not be shown although a task's message repeats it; group variables are the same for a group's first host."""
        inventory = manager._inventory
        first = {group.get_hosts()[0].name: group.get_hosts()[0] for group in inventory.groups.values() if group.get_hosts()}
        try:
            known = [host.vars for host in inventory.hosts.values()]
            known += [manager.get_vars(host=host, include_hostvars=False, stage="task") for host in first.values()]
            found = {secret for each in known for secret in report.masked_inputs({**plain(each), "groups": None})[1]}
        except Exception as error:
            self._display.warning(f"The inventory's secrets cannot be read to mask them in the run's record: {type(error).__name__}.")
            return []
        return sorted((secret for secret in found if len(secret) >= SHORTEST_SECRET), key=len, reverse=True)

    def v2_playbook_on_stats(self, stats):
        if self._record is None:
            return
        self._record["hosts"] = {host: stats.summarize(host) for host in sorted(stats.processed)}
        failed = [host for host, numbers in self._record["hosts"].items() if numbers["failures"] or numbers["unreachable"]]
        self._finish(report.outcome(self._record["steps"], failed, self._record["check"]))

    def _interrupted(self):
        """At the end of a process that was not told its end: Ctrl-C, or an error of Ansible itself."""
        if self._record is not None and os.getpid() == self._pid:
            self._finish("failed" if any(step["outcome"] == "failed" for step in self._record["steps"]) else "unfinished")

    def _terminated(self, number, frame):
        """A timer or a CI ends the run; Ansible's own handler then ends the process without another word."""
        self._interrupted()
        signal.signal(number, self._former)
        if callable(self._former):
            self._former(number, frame)
        else:
            os.kill(os.getpid(), number)

    def _finish(self, outcome):
        record, self._record["outcome"] = self._record, outcome
        self._write(page=True)
        self._record = None
        self._forget_old()
        when = self._settings.get("report_webhook_on") or "changed"
        wanted = when == "always" or outcome in ("failed", "unfinished") or (when == "changed" and outcome == "changed")
        if self._settings.get("report_webhook_url") and wanted:
            self._tell(record)

    def _tell(self, record):
        title = f"Golden Jobs: {record['playbook']} {record['outcome']}"
        form = self._settings.get("report_webhook_form") or "json"
        try:
            secret = self._settings.get("report_webhook_secret") or ""
            webhook.tell(self._settings["report_webhook_url"], form, title, report.sentence(record), record, secret)
        except GoldenJobsError as error:
            self._display.warning(str(error))

    # ------------------------------------------------------------------------------------------------------------------ steps

    def v2_playbook_on_task_start(self, task, is_conditional):
        self._began[task._uuid] = time.time()
        if self._unwritten:  # what came too fast to be written one by one
            self._write()

    def v2_runner_on_start(self, host, task):
        self._began[task._uuid, host.name] = time.time()

    def v2_runner_on_ok(self, result):
        answer = result.result
        if "results" not in answer and (answer.get("changed") or result.task.action in TELLING or answer.get("golden_job_records")):
            self._step(result, "changed" if answer.get("changed") else "ok")

    def v2_runner_item_on_ok(self, result):
        if result.result.get("changed"):
            self._step(result, "changed")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        if not ignore_errors and "results" not in result.result:
            self._step(result, "failed")

    def v2_runner_item_on_failed(self, result):
        self._step(result, "failed")

    def v2_runner_on_unreachable(self, result):
        if not result.task.ignore_unreachable:
            self._step(result, "failed")

    def _step(self, result, outcome):
        if self._record is None:
            return
        hidden = result.task.no_log
        answer = {} if hidden else plain(result.result)
        host, now = result.host.get_name(), time.time()
        began = self._began.get((result.task._uuid, host)) or self._began.get(result.task._uuid) or now
        message = str(answer.get("msg") or "").strip() if outcome == "failed" else ""
        step = {
            "at_s": round(now, 3),
            "host": host,
            "on": result.task.delegate_to if isinstance(result.task.delegate_to, str) and "{{" not in result.task.delegate_to else "",
            "course": report.subject(host, str(answer.get("name") or ""), message, self._courses),
            "cluster": host if host in self._clusters else "",
            "task": result.task.get_name().rpartition(" : ")[2].strip(),  # without the role
            "outcome": outcome,
            "seconds": answer.get("golden_job_seconds", round(now - began, 2)),
            "message": "(not shown: it may hold a secret)" if hidden and outcome == "failed" else message,
            "details": report.details({**answer, **(answer.get("build") or {})}),  # of a context: what there is of its image
        }
        self._record["steps"].append(report.without(self._secrets, step))
        report.remember(self._record["golden_jobs"], report.without(self._secrets, answer.get("golden_job_records") or []))
        self._unwritten = True
        if outcome == "failed" or now > self._write_after_s:
            self._write()

    # ------------------------------------------------------------------------------------------------------------------ files

    def _write(self, page=False):
        """The record as it is now: a run that is killed leaves what it had."""
        now, self._unwritten = time.time(), False
        self._record["seconds"] = round(now - self._record["began_s"], 2)
        text = json.dumps(self._record, indent=1, ensure_ascii=False, default=str) + "\n"
        try:
            write(f"{self._path}.json", text, MODE, within_umask=True)
            if page:
                write(f"{self._path}.html", report.html(self._record), MODE, within_umask=True)
        except GoldenJobsError as error:
            self._display.warning(f"The run's record: {error}", formatted=True)
        ended = time.time()
        self._write_after_s = ended + (ended - now) / WRITING_SHARE

    def _forget_old(self):
        records = sorted(self._path.parent.glob("[0-9]*T*Z-*.json"))
        for old in records[: -self.get_option("keep")]:
            for path in (old, old.with_suffix(".html")):
                path.unlink(missing_ok=True)


def _argument(text, secrets):
    """A word of the command line without the value of a secret."""
    for secret in secrets:
        text = text.replace(secret, report.MASK) if len(secret) >= 4 else text
    return text


def _git():
    """The commit that is checked out and whether anything differs from it; empty outside git."""

    def ask(*words):
        return subprocess.run(["git", "-C", str(PROJECT), *words], capture_output=True, text=True, check=False, timeout=20)

    try:
        head = ask("rev-parse", "HEAD")
        return (head.stdout.strip(), bool(ask("status", "--porcelain").stdout.strip())) if head.returncode == 0 else ("", False)
    except (OSError, subprocess.TimeoutExpired):
        return "", False

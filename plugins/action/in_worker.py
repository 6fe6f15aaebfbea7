"""Does the work of the task's name in Ansible's own worker: asking over HTTP, drawing and writing here need no module and no connection.

The plugins of these names beside this file are links to it. What each does is in the module of `module_utils/golden_jobs` that WORK
names: its options (SPEC) and `run(args, host, check_mode)`; its documentation is in `library/`. A module would cost ten times as much.
"""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

# Ansible imports this, and all that these import, before it forks its workers: none of them does it again.
from ansible.module_utils.golden_jobs import (
    branding,
    cluster_images,
    cluster_status,
    each_cluster,
    registry_delete,
    registry_tags,
    status_files,
)
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.plain import plain

WORK = {
    "course_branding": branding,
    "golden_job_images": cluster_images,
    "golden_job_status": cluster_status,
    "registry_delete": registry_delete,
    "registry_tags": registry_tags,
    "status_page": status_files,
}
#: These take `clusters`, too, and then do their work for each of them.
OF_A_CLUSTER = ("golden_job_status",)


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        work = WORK[self._task.action]
        if self._task.action in OF_A_CLUSTER and "clusters" in self._task.args:
            _spec, args = self.validate_argument_spec(argument_spec=each_cluster.SPEC)
            found = each_cluster.results(
                args["clusters"],
                lambda cluster: self._told(work, cluster, args["options"]),
                lambda options, cluster: self._done(work, options, cluster),
                AnsibleError,
            )
            return {"changed": False, "clusters": found}
        _spec, args = self.validate_argument_spec(argument_spec=work.SPEC)
        return self._done(work, plain(args), (task_vars or {})["inventory_hostname"])

    def _told(self, work, cluster, names):
        """The options of this cluster."""
        checked = ArgumentSpecValidator(work.SPEC).validate(plain(each_cluster.options_of(self, cluster, names)))
        if checked.error_messages:
            raise AnsibleActionFail(f"{self._task.action}: {'; '.join(checked.error_messages)}")
        return checked.validated_parameters

    def _done(self, work, args, host):
        try:
            return {"changed": False, **work.run(args, host, self._task.check_mode)}
        except GoldenJobsError as error:
            return {"failed": True, "changed": False, **error.details, "msg": str(error)}

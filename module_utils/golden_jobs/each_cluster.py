"""A step on many clusters in one worker of Ansible: a thread for each and a process per processor, as a worker per cluster would cost 15 MB each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import background, shares

Result = dict[str, Any]

#: What such a task is told; `options_of` explains the second.
SPEC: dict[str, Any] = {
    "clusters": {"type": "list", "elements": "str", "required": True},
    "options": {"type": "dict", "required": True},
}
#: The clusters of one process begin so far apart: threads that all want the processor at once spend it on each other.
APART_S = 0.1


def options_of(action: Any, cluster: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Options of a task of this action plugin, from the variables that it would see on the cluster's host.

    `names`: options and the variables that have their values. What a cluster does not have is left out. Raises what Ansible's templates raise.
    """
    task = action._task
    manager = task.get_variable_manager()
    variables = manager.get_vars(play=task.get_play(), host=manager._inventory.get_host(cluster), task=task)
    templar = action._templar.copy_with_new_env(available_variables=variables)
    return {option: templar.template(variables[name]) for option, name in names.items() if name in variables}


def results(
    clusters: Sequence[str], told: Callable[[str], Result], work: Callable[[Result, str], Result], refusal: type[Exception]
) -> dict[str, Result]:
    """`work(told(cluster), cluster)` by cluster. Where `told` raises a `refusal`, that is the cluster's result; anything else is raised."""

    def of_one(cluster: str) -> tuple[Result, bool]:
        try:
            return told(cluster), True
        except refusal as error:
            return {"changed": False, "failed": True, "msg": str(error)}, False

    def share(part: Sequence[str]) -> list[Result]:
        asked = [
            (*of_one(cluster), cluster) for cluster in part
        ]  # before there are threads: templates are Ansible's, and not made for them
        found = background.outcomes(lambda one: work(one[0], one[2]) if one[1] else one[0], asked, APART_S)
        for one in found:
            if isinstance(one, Exception):
                raise one
        return found  # type: ignore[return-value]

    return dict(zip(clusters, shares.shared(share, clusters)))

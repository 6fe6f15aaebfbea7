"""Options of tasks about OpenPAI clusters: several at once (`each_cluster.SPEC`), and what each lays over a job (`effective_job.SETTINGS_SPEC`)."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  clusters:
    description: Hosts of the inventory that the task is about, all at the same time, with O(options). Without it, the one that the other options name.
    type: list
    elements: str
  options:
    description:
      - With O(clusters), the other options, each with the name of the variable that has its value; each cluster's own counts.
      - An option whose variable a cluster does not have is left out.
    type: dict
  settings:
    description: What the cluster lays over a course's job, C(golden_job_cluster) of the role golden_job.
    type: dict
    default: {}
    suboptions:
      virtual_cluster:
        description: Virtual cluster of the jobs.
        type: str
      resources:
        description: Figures that replace those in C(resourcePerInstance), for every task role or below the name of one.
        type: dict
      sku:
        description: SKU of the hived scheduler for every task role.
        type: str
      registry_mirrors:
        description: A registry's address to C(address), C(username) and C(password) of the mirror that this cluster pulls from.
        type: dict
      secrets:
        description: Added to the secrets of each job.
        type: dict
      overrides:
        description: Merged into each job. Maps are merged key by key, anything else replaces, null removes.
        type: dict
      course_overrides:
        description: A course's name to overrides that are merged last.
        type: dict
      pins:
        description: A course's name to the image tag that it stays at on this cluster.
        type: dict
"""

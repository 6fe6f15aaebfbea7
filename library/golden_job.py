"""Documentation of the action plugin `golden_job`."""

from __future__ import annotations

DOCUMENTATION = r"""
module: golden_job
short_description: One step of a rollout of Golden Jobs on one OpenPAI cluster, or on several at once
description:
  - What a rollout does between its plan and the retired old job, one step at a time, for all O(courses) of a cluster together.
  - Each step asks the cluster what there is and touches only what has yet to be done, so the same steps complete what an
    interrupted run has left.
  - It is an action plugin alone. It runs on the control node and shows its progress while it waits.
version_added: "0.1.0"
author: Golden Jobs developers (@golden-jobs)
extends_documentation_fragment: [each_cluster]
options:
  step:
    description:
      - V(plan) and V(plan_back) (of a rollback) touch nothing and say what would be done. They fail when it may not be done.
      - V(rollout) carries out the RV(plans) of a plan. It submits, waits until the new jobs run, probes them, lets them bake, probes
        them again, tags them as current, and stops what they replace. When that fails, it stops the new jobs and proves the old ones alive.
      - V(hold) holds the courses for O(reason), or lifts the hold without one.
      - V(outcome) returns O(of), one cluster's part of what this module has returned for several, as the host's own result.
    type: str
    required: true
    choices: [plan, plan_back, rollout, hold, outcome]
  plans_in:
    description: With O(clusters), name of the variable in which the result of a plan was registered, for V(rollout).
    type: str
  of:
    description: For V(outcome), a value of RV(clusters).
    type: dict
  connection:
    description: How to reach the cluster, the connection options of M(pai_job). Needed where neither O(clusters) nor O(of) is given.
    type: dict
  cluster:
    description: Name of the cluster for people; the host's name without it.
    type: str
  courses:
    description: The courses, as the filter C(golden_job_courses) makes them.
    type: list
    elements: dict
    default: []
  plans:
    description: RV(plans) of the step before.
    type: list
    elements: dict
    default: []
  operator:
    description: Who does this, for the clusters' memory. Without it, the user and the host that Ansible runs on.
    type: str
    default: ""
  root:
    description: Folder that job templates and files of probes are relative to.
    type: path
    default: .
  probes:
    description: What the new job has to answer, C(golden_job_probes) of the role.
    type: list
    elements: dict
    default: []
  probe_through:
    description: Whether tasks are asked at their own address or through the proxy of the cluster's pylon.
    type: str
    choices: [task, pylon]
    default: task
  force:
    description: Whether a revision that is marked bad may come back.
    type: bool
    default: false
  hold:
    description: The inventory's reason to leave this cluster alone.
    type: str
    default: ""
  revision:
    description: For V(plan_back), the revision to go back to; the previous one without it.
    type: str
    default: ""
  reason:
    description: Why a course is held, or why a job is undone.
    type: str
    default: ""
  start_timeout_s:
    description: Longest wait until all tasks run, in seconds.
    type: float
    default: 600
  probe_timeout_s:
    description: Longest wait for a good answer, in seconds.
    type: float
    default: 180
  bake_s:
    description: Time between the two probes, in seconds.
    type: float
    default: 30
  stop_timeout_s:
    description: Longest wait for a stopped job to end, in seconds.
    type: float
    default: 300
  patience_s:
    description: How long a step is tried again while the cluster is in trouble, in seconds.
    type: float
    default: 120
"""

EXAMPLES = r"""
- name: Plan
  golden_job:
    step: plan
    connection: "{{ golden_job_connection }}"
    settings: "{{ golden_job_cluster }}"
    courses: "{{ golden_job_courses }}"
  register: planned

- name: Replace the Golden Jobs
  golden_job:
    step: rollout
    connection: "{{ golden_job_connection }}"
    settings: "{{ golden_job_cluster }}"
    courses: "{{ golden_job_courses }}"
    plans: "{{ planned.plans }}"

- name: Plan for all clusters at once
  golden_job:
    step: plan
    clusters: "{{ ansible_play_batch }}"
    options:
      connection: golden_job_connection
      settings: golden_job_cluster
      courses: golden_job_courses
  run_once: true
  register: asked

- name: Give each its own plan
  golden_job:
    step: outcome
    of: "{{ asked.clusters[inventory_hostname] }}"
  register: planned
"""

RETURN = r"""
plans:
  description:
    - One entry per course, with C(course), C(action) (none, submit, resume, held or refused), C(revision), C(name), C(live), C(retire),
      C(reason), C(url), C(image) and C(digest).
  type: list
  elements: dict
  returned: for all steps but hold
clusters:
  description: The result of each cluster by its name; a failure is one of the results.
  type: dict
  returned: with O(clusters)
lines:
  description: What was held or is no longer held.
  type: list
  elements: str
  returned: for hold
outcome:
  description: Outcome of the probe that failed, one of unhealthy, error and undecided.
  type: str
  returned: when a probe failed
golden_job_seconds:
  description: Seconds that the step took.
  type: float
  returned: always
golden_job_records:
  description: One entry per course for the run record.
  type: list
  elements: dict
  returned: always
"""

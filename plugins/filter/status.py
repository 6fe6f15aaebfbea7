"""Filters of status.yml, adopt.yml and prune.yml over the pure functions of `module_utils/golden_jobs`."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
from ansible.utils.unsafe_proxy import wrap_var

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import adopt, prune, registry_api, status
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.plain import plain


def repositories(names, hostvars):
    """The repositories of these courses and how to log in to their registries, for `registry_tags`."""
    return plain([{"name": hostvars[name]["course_image"], "registry": _registry(hostvars, name)} for name in names])


def _registry(hostvars, course):
    registry = hostvars[hostvars[course]["course_registry"]]
    return {
        "address": registry["registry_address"],
        "username": registry.get("registry_username") or None,
        "password": registry.get("registry_password") or None,
        "ca_file": registry.get("registry_ca_file") or None,
        "plain_http": bool(registry.get("registry_plain_http", False)),
    }


def courses(names, hostvars, asked):
    """What `golden_job_status` needs of each course. `asked`: what `registry_tags` found.

    The image is the one that this run or the inventory names, else the immutable tag that the course's moving tag stands for.
    No secret is among it: only their names count for a revision.
    """
    found = []
    for name in names:
        course = hostvars[name]
        registry = _registry(hostvars, name)
        repository = f"{registry['address']}/{course['course_image']}"
        answer = asked[repository]
        newest = registry_api.newest(answer["tags"] or {}, str(course["course_version"]))
        image = course.get("course_image_reference") or (f"{repository}:{newest}" if newest else "")
        problem = answer["problem"]
        if not image and not problem:
            problem = f"the registry has no immutable tag for {repository}:{course['course_version']}; build it"
        found.append(
            {
                "name": name,
                "title": course.get("course_title") or "",
                "image": image,
                "repository": repository,
                "tags": answer["tags"],
                "problem": str(problem).rstrip("."),
                "template": course["course_job"],
                "overrides": _without_secrets(course.get("course_job_overrides") or {}),
                "hold": course.get("course_hold") or "",
                "registry": {"address": registry["address"], "username": registry["username"] or "", "password": ""},
            }
        )
    return wrap_var(plain(found))


def _without_secrets(overrides):
    overrides = plain(overrides)
    if isinstance(overrides.get("secrets"), dict):
        overrides["secrets"] = dict.fromkeys(overrides["secrets"], "")
    return overrides


def results(hosts, asked, courses):
    """What `golden_job_status` found on each cluster (`asked`); one that could not be asked is unreachable for all courses."""
    found = []
    for host in hosts:
        answer = plain(asked.get(host) or {})
        if "rows" not in answer:
            problem = answer.get("msg") or "it was not asked"
            rows = [status.unreachable(course["name"], host, problem) for course in plain(courses)]
            answer = {"name": host, "address": "", "user": None, "problem": problem, "seconds": 0.0, "rows": rows}
        found.append(answer)
    return wrap_var(found)


# ------------------------------------------------------------------------------------------------------------------------- adopt


def adopted(config, course, where, catalogue, title="", dockerfile="", allow=""):
    """`adopt.adopt`, the catalogue's new text as `catalogue`, and `problem`: one sentence about what cannot be adopted, else empty."""
    names = [name for name in str(allow).split(",") if name]
    try:
        found = adopt.adopt(plain(config), str(course), str(where), title=str(title), dockerfile=str(dockerfile), allow=names)
        return wrap_var({**found, "catalogue": adopt.with_entry(str(catalogue), str(course), found["entry"]), "problem": ""})
    except GoldenJobsError as error:
        return {"problem": str(error)}


# ------------------------------------------------------------------------------------------------------------------------- prune


def unknown(clusters, hostvars):
    """Clusters of which this run does not know what they run."""
    return [cluster for cluster in clusters if not isinstance((hostvars[cluster].get("golden_job_used") or {}).get("images"), list)]


def courses_of(names, hostvars, registry):
    """Courses whose images are in this registry."""
    return [name for name in names if hostvars[name]["course_registry"] == registry]


def choose(names, hostvars, asked, clusters, keep):
    """`prune.choose` for all courses of a registry; two courses of one repository are one."""
    used = [image for cluster in clusters for image in hostvars[cluster]["golden_job_used"]["images"]]
    rows = {}
    for name in names:
        repository = f"{_registry(hostvars, name)['address']}/{hostvars[name]['course_image']}"
        for row in prune.choose(repository, plain(asked[repository]), plain(used), int(keep)):
            rows[row["repository"], row["tag"]] = {**row, "name": str(hostvars[name]["course_image"])}
    return wrap_var(list(rows.values()))


def prune_lines(rows):
    """For people."""
    return prune.lines(plain(rows))


def leftover_lines(left, cluster):
    """For people, one line per job that an interrupted run has left."""
    return [f"  {cluster}: {one['name']} {one['why']}: to be {'stopped' if one['stop'] else 'untagged'}" for one in plain(left)]


def going(rows):
    """What `registry_delete` is told."""
    return [{"repository": row["name"], "tag": row["tag"], "digest": row["digest"]} for row in plain(rows) if not row["keep"]]


def chosen_repositories(registries, hostvars):
    """The repositories that were looked at."""
    return sorted({row["repository"] for registry in registries for row in plain(hostvars[registry].get("prune_chosen") or [])})


def kept(registries, hostvars):
    """The image references that an engine keeps."""
    rows = [row for registry in registries for row in plain(hostvars[registry].get("prune_chosen") or [])]
    return [f"{row['repository']}:{row['tag']}" for row in rows if row["keep"]]


class FilterModule:
    def filters(self):
        return {
            "status_repositories": repositories,
            "status_courses": courses,
            "status_results": results,
            "adopt_job": adopted,
            "prune_unknown": unknown,
            "prune_courses": courses_of,
            "prune_choose": choose,
            "prune_lines": prune_lines,
            "prune_leftover_lines": leftover_lines,
            "prune_going": going,
            "prune_repositories": chosen_repositories,
            "prune_kept": kept,
        }

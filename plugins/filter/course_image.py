"""Filters of the role course_image: what it decides about the catalogue without asking a host."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils

_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.golden_jobs import golden_job, written
from ansible.module_utils.golden_jobs.branding import IMAGES

_COURSEWARE = ("repository", "version", "deploy_key", "known_hosts", "username", "token")


def twin(courses, hostvars, selected):
    """A sentence when one of the selected courses has the image of another one on the same registry, else an empty text."""
    known = {}
    for course in courses:
        image = hostvars[course].get("course_image")
        if image is not None:
            known.setdefault((hostvars[course].get("course_registry"), str(image)), []).append((str(course), image))
    for (_registry, image), found in known.items():
        found.sort(key=lambda each: each[0] not in selected)
        if len(found) > 1 and found[0][0] in selected:
            places = [place for place in (written.place(each) for _name, each in found[:2]) if place]
            return (
                f"The courses {found[0][0]} and {found[1][0]} have one image name, {image}, and would overwrite each other"
                f"{' (' + ' and '.join(places) + ')' if places else ''}: give each its own course_image."
            )
    return ""


def sources(courseware):
    """`course_courseware` as the option `sources` of course_context."""
    return [{"path": "courseware", **{name: courseware[name] for name in _COURSEWARE if courseware.get(name)}}]


def brand(branding, course_branding, root):
    """`branding` with the course's own on top as options of the module course_branding: paths below `root`, and where each value is written."""
    layers = [{name: value for name, value in (layer or {}).items() if value is not None} for layer in (branding, course_branding)]
    theme = {**(layers[0].get("theme") or {}), **(layers[1].get("theme") or {})}
    made = {**layers[0], **layers[1], "theme": theme}
    places = {name: written.place(value) for name, value in (made | theme).items()}
    # An empty text takes back what `branding` says; the module then takes the favicon.
    pictures = {name: str(Path(root, str(made[name]))) for name in IMAGES if made.get(name)}
    return {**made, **pictures, "written": {name: place for name, place in places.items() if place}}


def find_table(files, course, name):
    """Lines of the table of image_find's rows."""
    if not files:
        return [f"  {course}: no file of its image is called {name}"]
    rows = [[one["path"], one["size_bytes"], one["sha256"][:12], one["origin"], one["url"]] for one in files]
    return golden_job.table(rows, [f"IN THE IMAGE OF {course}", "BYTES", "SHA256", "", "URL"])


def served_lines(answers, stats, found, course, cluster):
    """What a Golden Job serves for each row of image_find that has an address: one line each, the same bytes as in the image or not."""
    job = found.get("golden_job")
    if not job:
        return [f"  {course} on {cluster}: no Golden Job runs"]
    lines = [f"  {course} on {cluster}: {job['name']}"]
    for answer, stat in zip(answers.get("results", []), stats.get("results", []), strict=True):
        row = answer["served_file"]
        sha256 = (stat.get("stat") or {}).get("checksum", "")
        if answer.get("skipped"):
            what = f"the job has no port for {row['software']}"
        elif answer.get("status", -1) < 0:
            what = f"no answer: {answer['msg'].rpartition(' failure: ')[2]}"
        elif answer["status"] != 200:
            what = f"HTTP {answer['status']}"
        else:
            what = (
                f"{row['origin']}, sha256 {sha256[:12]}"
                if sha256 == row["sha256"]
                else f"other bytes than the image has, sha256 {sha256[:12]}"
            )
        lines.append(f"    {row['url']}  {what}")
    return lines


class FilterModule:
    def filters(self):
        return {
            "course_image_twin": twin,
            "course_image_sources": sources,
            "course_image_brand": brand,
            "course_image_find_table": find_table,
            "course_image_served_lines": served_lines,
        }

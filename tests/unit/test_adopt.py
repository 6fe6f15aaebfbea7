"""A job made by hand as a course's files: nothing secret in them, and the catalogue keeps every character that it had."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.golden_jobs import adopt
from ansible.module_utils.golden_jobs.errors import GoldenJobsError

IMAGE = {"type": "dockerimage", "name": "i", "uri": "hub.example/lab/data.science:v2"}
ROLE = {
    "instances": 1,
    "dockerImage": "i",
    "resourcePerInstance": {"cpu": 1, "memoryMB": 64, "gpu": 0},
    "commands": ["serve <% $secrets.key %>"],
}
CATALOGUE = """\
---
# The catalogue.
courses:
  hosts:
    # first
    OOB1: # why
      course_title: "One"   # quoted

    OOB2:
      course_title: 'Two'
  vars:
    x: 1
"""


def config(**role: Any) -> dict[str, Any]:
    job = {"protocolVersion": 2, "name": "jupyter_v3", "type": "job", "prerequisites": [IMAGE], "secrets": "******"}
    return {**job, "taskRoles": {"web": {**ROLE, **role}}}


def take(job: dict[str, Any], **options: Any) -> dict[str, Any]:
    return adopt.adopt(job, "DS1", "job jupyter_v3 of op on pai-a", **options)


def test_the_job_file_says_where_it_is_from_and_which_secrets_it_needs():
    found = take(config())
    assert (found["path"], found["image"], found["secrets"]) == ("yamls/DS1-data.science.yaml", IMAGE["uri"], ["key"])
    assert found["job_text"].startswith("# Adopted from the job jupyter_v3 of op on pai-a.\n")
    assert "golden_job_secrets of the clusters, from the vault): key" in found["job_text"]
    job = yaml.safe_load(found["job_text"])
    assert (job["name"], job["taskRoles"]["web"]["commands"]) == ("golden-DS1", ROLE["commands"])
    assert "secrets" not in job


@pytest.mark.parametrize(
    ("uri", "image", "version"),
    [
        ("hub.example/lab/data.science:v2", "lab/data.science", "v2"),
        ("hub.example:5000/lab/x", "lab/x", "latest"),
        ("lab/x:v1", "lab/x", "v1"),
        ("hub.example/lab/x:v1@sha256:" + "1" * 64, "lab/x", "v1"),
    ],
)
def test_repository_and_version_come_from_the_image(uri: str, image: str, version: str):
    found = take({**config(), "prerequisites": [{**IMAGE, "uri": uri}]}, title="It's: one", dockerfile="dockerfiles/DS1/Dockerfile.j2")
    entry = yaml.safe_load(found["entry"])["DS1"]
    assert (entry["course_image"], str(entry["course_version"])) == (image, version)
    assert (entry["course_title"], entry["course_dockerfile"]) == ("It's: one", "dockerfiles/DS1/Dockerfile.j2")


def test_a_secret_in_the_job_is_refused_with_its_place_and_what_to_do():
    leaky = config(commands=["serve --token=abcdef0123456789"])
    with pytest.raises(GoldenJobsError) as refused:
        take(leaky)
    assert "holds a secret in taskRoles.web.commands[0] (token)" in str(refused.value)
    assert "-e adopt_allow=token" in str(refused.value)
    assert "abcdef0123456789" not in str(refused.value)
    assert "abcdef0123456789" in take(leaky, allow=["token"])["job_text"]


def test_a_job_without_an_image_and_a_name_that_cannot_be_are_refused():
    with pytest.raises(GoldenJobsError, match="has no dockerimage for its first task role"):
        take({**config(), "prerequisites": []})
    with pytest.raises(GoldenJobsError, match="allowed: 1 to 200 of A-Z"):
        adopt.adopt(config(), "a b", "job")


def test_the_catalogue_keeps_every_character_and_has_one_course_more():
    entry = take(config())["entry"]
    text = adopt.with_entry(CATALOGUE, "DS1", entry)
    assert text.replace(entry, "") == CATALOGUE
    after = yaml.safe_load(text)
    assert list(after["courses"]["hosts"]) == ["OOB1", "OOB2", "DS1"]
    assert after["courses"]["vars"] == {"x": 1}


def test_other_indents_comments_and_texts_of_many_lines_are_kept():
    catalogue = "courses:\n hosts:\n  OOB1:\n   course_note: |\n    many\n    lines\n\n# end\nothers:\n hosts: {}\n"
    text = adopt.with_entry(catalogue, "DS1", take(config())["entry"])
    assert [line for line in text.splitlines() if line in catalogue.splitlines()] == catalogue.splitlines()
    assert yaml.safe_load(text)["courses"]["hosts"]["OOB1"] == {"course_note": "many\nlines\n"}
    assert "\n  DS1:\n    course_title: DS1\n" in text


def test_a_catalogue_that_ends_without_a_line_end_is_added_to_as_well():
    text = adopt.with_entry("courses:\n  hosts:\n    OOB1: {}", "DS1", take(config())["entry"])
    assert list(yaml.safe_load(text)["courses"]["hosts"]) == ["OOB1", "DS1"]


@pytest.mark.parametrize(
    ("catalogue", "words"),
    [
        (CATALOGUE.replace("OOB2", "DS1"), "The course DS1 is in the catalogue already"),
        ("all: {}\n", "has no map courses.hosts"),
        ("courses: {hosts: {OOB1: {}}}\n", "add this by hand:\n    DS1:"),
    ],
)
def test_a_catalogue_that_cannot_be_added_to_is_left_alone(catalogue: str, words: str):
    with pytest.raises(GoldenJobsError) as refused:
        adopt.with_entry(catalogue, "DS1", take(config())["entry"])
    assert words in str(refused.value)

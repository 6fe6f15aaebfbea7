from __future__ import annotations

from ansible.module_utils.golden_jobs.dockerfile import base_images, locate, parse

DOCKERFILE = """\
# a comment
ARG BASE=debian:12
FROM ${BASE} AS build
RUN apt-get update \\
    # comments inside an instruction do not count
 && apt-get install -y git
FROM registry:5000/shaiic/standard:v1
COPY --from=build /a /a
COPY --from=tools:1 /b /b
COPY --from=0 /c /c
"""


def test_continued_instructions_are_one_and_know_their_first_line():
    instructions = parse(DOCKERFILE)
    run = instructions[2]
    assert (run.line, run.keyword, run.text) == (4, "RUN", "apt-get update && apt-get install -y git")


def test_base_images_leave_out_the_builds_own_stages():
    assert base_images(DOCKERFILE) == ["debian:12", "registry:5000/shaiic/standard:v1", "tools:1"]


def test_a_build_argument_goes_before_the_default_in_from():
    assert base_images(DOCKERFILE, {"BASE": "debian:13"})[0] == "debian:13"


def test_a_default_written_in_the_reference_is_filled_in():
    assert base_images("ARG TAG\nFROM debian:${TAG:-12}") == ["debian:12"]


def test_scratch_is_no_base_image():
    assert base_images("FROM scratch") == []


def test_a_builders_step_is_found_whatever_its_blanks():
    found = locate(DOCKERFILE, "RUN apt-get update     && apt-get install -y git")
    assert found is not None
    assert found.line == 4
    assert locate(DOCKERFILE, "RUN something else") is None


def test_the_text_of_a_here_document_is_no_instruction():
    content = "FROM a\nRUN <<EOF\nFROM b\necho\nEOF\nCOPY <<ONE /x <<-'TWO' /y\nFROM c\nONE\nFROM d\n\tTWO\nFROM e\n"
    assert base_images(content) == ["a", "e"]
    assert [(one.line, one.keyword) for one in parse(content)] == [(1, "FROM"), (2, "RUN"), (6, "COPY"), (11, "FROM")]


def test_what_only_looks_like_a_here_document_swallows_nothing():
    assert base_images("FROM a\nRUN echo $((1<<N)) && cat <<EOF\nFROM b\n") == ["a", "b"]

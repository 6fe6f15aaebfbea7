"""A requirements file is read before the build: names, conditions, and the line of what is broken."""

from __future__ import annotations

import pytest
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.requirements_file import Requirement, is_used, parse


def test_names_with_conditions_and_without_what_names_no_distribution():
    text = """\
# a comment
numpy>=2.2,<3  # another
tensorflow[and-cuda]>=2.19,<2.22
colorama ; sys_platform == "win32"
requests == 2.32.3 --hash=sha256:0123
pandas \\
  >=2,<3
-r more.txt
--extra-index-url https://example.com/simple
./wheels/own.whl
https://example.com/own-1.0.tar.gz
own @ https://example.com/own-1.0.tar.gz
"""
    assert parse(text, "x") == [
        Requirement("numpy", False),
        Requirement("tensorflow", False),
        Requirement("colorama", True),
        Requirement("requests", False),
        Requirement("pandas", False),
        Requirement("own", False),
    ]


@pytest.mark.parametrize("line", ["numpy>=", "numpy 2.0", "=1.0", "numpy>=2,,<3 !"])
def test_a_broken_line_is_named_by_file_and_number(line: str):
    with pytest.raises(GoldenJobsError, match=r"^dockerfiles/X/requirements\.txt:3: .*is not a requirement") as failure:
        parse(f"# packages\npandas\n{line}\n", "dockerfiles/X/requirements.txt")
    assert "\n" not in str(failure.value)


def test_a_file_is_used_where_the_dockerfile_takes_it_from_the_context():
    mounted = "RUN --mount=type=bind,source=requirements.cpu.txt,target=/tmp/requirements.txt uv pip install -r /tmp/requirements.txt"
    assert is_used("requirements.cpu.txt", mounted)
    assert not is_used("requirements.txt", mounted)
    for line in ("ADD requirements.txt /", "COPY ./requirements.txt /tmp/", "COPY . /x\nRUN pip install -r requirements.txt"):
        assert is_used("requirements.txt", line)
        assert not is_used("requirements.cpu.txt", line)
    assert not is_used("requirements.txt", "ADD old-requirements.txt requirements.txt.old /")

"""What the project ships for its courses: Dockerfile templates, requirements, job files, branding, sample notebooks."""

from __future__ import annotations

import ast
import itertools
import json
import re
import struct
import sys
from pathlib import Path

import jinja2
import pytest
import yaml
from ansible.module_utils.golden_jobs import dockerfile, protocol

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = ROOT / "dockerfiles"
BRANDING = ROOT / "branding"
TEMPLATES = sorted(DOCKERFILES.glob("*/Dockerfile.*.j2"))
COURSE_TEMPLATES = [path for path in TEMPLATES if path.parent.name != "base"]
JOBS = sorted((ROOT / "yamls").glob("*.yaml"))
ALL_JOBS = sorted((ROOT / "yamls").rglob("*.yaml"))
NOTEBOOKS = sorted((ROOT / "courseware" / "samples").rglob("*.ipynb"))
COURSES = ["OOB1", "OOB2", "OOB3", "OOB4"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def rendered(template: Path, **variables: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, DOCKERFILES]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    known = {"base_image_rootfs": "rootfs:1"} if template.parent.name == "base" else {"course_base_image": "registry.example:5000/base:1"}
    return environment.get_template(template.name).render(**{**known, **variables})


def instructions(template: Path, **variables: str) -> list[dockerfile.Instruction]:
    return dockerfile.parse(rendered(template, **variables))


# ----------------------------------------------------------------------------------------------- Dockerfiles


def test_every_course_has_a_template_a_job_and_sample_notebooks() -> None:
    assert [path.parent.name for path in COURSE_TEMPLATES] == COURSES
    assert [path.name[:4] for path in JOBS] == COURSES
    for course in COURSES:
        assert len(list((ROOT / "courseware" / "samples" / course).glob("*.ipynb"))) >= 2
        assert (ROOT / "courseware" / "samples" / course / "README.md").is_file()


@pytest.mark.parametrize("template", TEMPLATES, ids=name_of)
def test_a_dockerfile_builds_with_the_buildkit_of_docker_20_10(template: Path) -> None:
    text = rendered(template)
    assert not re.search(r"^#\s*syntax\s*=", text, re.MULTILINE | re.IGNORECASE)
    for one in dockerfile.parse(text):
        assert one.keyword in {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "EXPOSE", "ENTRYPOINT", "CMD"}, one
        assert "<<" not in one.text
        if one.keyword == "COPY":
            assert not re.search(r"--(link|chmod|parents)\b", one.text)


@pytest.mark.parametrize("template", TEMPLATES, ids=name_of)
def test_nothing_of_the_site_becomes_part_of_an_image(template: Path) -> None:
    for one in instructions(template):
        if one.keyword == "RUN":
            uses_network = re.search(r"apt-get (update|install)|\buv pip\b|pip install|\bcurl\b|\bwget\b|\bgit clone\b", one.text)
            mounted = [f"--mount=type=secret,id={secret}" in one.text for secret in ("site_env", "site_ca", "site_apt")]
            assert all(mounted) if uses_network else not any(mounted), one
            assert not uses_network or ". /run/secrets/site_env &&" in one.text
        else:
            assert not re.search(r"(?i)proxy|index_url|_cert\b|ca_bundle|/run/secrets", one.text), one
            assert not re.search(r"https?://", one.text), one


@pytest.mark.parametrize("code_server", [False, True])
@pytest.mark.parametrize("template", COURSE_TEMPLATES, ids=name_of)
def test_what_changes_least_comes_first(template: Path, code_server: bool) -> None:
    stage = ["AS code_server", "g++", "install_code_server"]
    image = ["FROM", "nfs-common", "COPY --from=code_server", "uv pip install", "courseware/", "courseware.sha256", "branding", "clean up"]
    parts = [
        next(sign for sign in stage + image if sign in f"{one.keyword} {one.text}")
        for one in instructions(template, course_code_server=code_server)
    ]
    # Packages alone may be several steps.
    parts = [sign for before, sign in itertools.pairwise(["", *parts]) if not before == sign == "uv pip install"]
    assert parts == (stage + image if code_server else [sign for sign in image if "code_server" not in sign])


@pytest.mark.parametrize("template", COURSE_TEMPLATES, ids=name_of)
def test_the_compiler_of_code_server_is_in_no_layer_of_the_image(template: Path) -> None:
    texts = [f"{one.keyword} {one.text}" for one in instructions(template, course_code_server=True)]
    final = texts[max(number for number, text in enumerate(texts) if text.startswith("FROM")) :]
    assert not [text for text in final if "g++" in text or "npm" in text]


MACROS = {
    "jupyter": "{% import 'macros/jupyter.j2' as jupyter %}{{ jupyter.install('VERSION') }}",
    "pip": "{% import 'macros/python.j2' as python %}{{ python.install('r.txt', pip=true) }}",
    "without": "{% import 'macros/python.j2' as python %}{{ python.packages(['tensorflow'], without=['tensorflow/include', 'x/tests']) }}",
    "data": "{% import 'macros/data.j2' as data %}{{ data.install() }}",
}


def one_line(text: str) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(DOCKERFILES), undefined=jinja2.StrictUndefined, trim_blocks=True)
    (instruction,) = dockerfile.parse(environment.from_string(text).render())
    return f"{instruction.keyword} {instruction.text}"


@pytest.mark.parametrize(
    ("version", "package"),
    [("notebook-6.4", "notebook>=6.4"), ("notebook-6.5", "notebook>=6.5"), ("notebook-7", "notebook>=7"), ("lab-4", "jupyterlab>=4")],
)
def test_each_jupyter_is_one_step(version: str, package: str) -> None:
    assert f"'{package}" in one_line(MACROS["jupyter"].replace("VERSION", version))


def test_plain_pip_and_data_sets_are_one_step_each() -> None:
    assert re.search(r"python3 -m pip install .*-r /tmp/requirements\.txt$", one_line(MACROS["pip"]))
    assert "uv" not in one_line(MACROS["pip"])
    assert one_line(MACROS["data"]) == "COPY data/ /root/data/"


def test_what_is_left_out_of_packages_is_removed_by_the_step_that_installs_them() -> None:
    assert re.search(r"uv pip install .*'tensorflow' && cd \S+ .* && rm -rf tensorflow/include x/tests$", one_line(MACROS["without"]))


@pytest.mark.parametrize("template", TEMPLATES, ids=name_of)
def test_the_requirements_file_of_a_template_is_in_its_folder(template: Path) -> None:
    sources = re.findall(r"source=(\S*requirements\S*?),", rendered(template))
    assert sources
    for source in sources:
        assert (template.parent / source).is_file()


def test_the_inventory_chooses_the_requirements_file() -> None:
    sjtu = DOCKERFILES / "OOB4" / "Dockerfile.sjtu.j2"
    assert "source=requirements.txt," in rendered(sjtu)
    assert "source=requirements.cpu.txt," in rendered(sjtu, course_requirements="requirements.cpu.txt")


@pytest.mark.parametrize("path", sorted(DOCKERFILES.rglob("requirements*.txt")), ids=name_of)
def test_every_requirement_has_a_lower_and_an_upper_bound(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?(==\S+|>=[0-9.]+,<[0-9.]+)", line), line


def test_no_file_names_a_folder_of_one_python_version() -> None:
    for path in [*DOCKERFILES.rglob("*"), *BRANDING.rglob("*"), *ALL_JOBS]:
        if path.is_file() and path.suffix not in {".png", ".ico"}:
            assert not re.search(r"python3\.\d+/|site-packages/", path.read_text()), path


def test_every_macro_is_described() -> None:
    described = (DOCKERFILES / "macros" / "README.md").read_text()
    for path in (DOCKERFILES / "macros").glob("*.j2"):
        for macro in re.findall(r"{% macro (\w+)", path.read_text()):
            assert f"`{path.stem}.{macro}(" in described


# -------------------------------------------------------------------------------------------------- branding


@pytest.mark.parametrize("name", ["favicon.ico", "favicon-busy.ico", "favicon-terminal.ico"])
def test_an_icon_has_the_sizes_that_browsers_ask_for(name: str) -> None:
    content = (BRANDING / name).read_bytes()
    reserved, kind, count = struct.unpack_from("<HHH", content)
    assert (reserved, kind) == (0, 1)
    assert {content[6 + 16 * index] for index in range(count)} >= {16, 32, 48}


def test_the_logo_is_a_wide_png() -> None:
    content = (BRANDING / "logo.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack_from(">II", content, 16)
    assert width > 2 * height >= 48


# ------------------------------------------------------------------------------------------------- job files


@pytest.mark.parametrize("path", ALL_JOBS, ids=name_of)
def test_a_job_file_is_a_valid_job_without_jinja(path: Path) -> None:
    document, source = protocol.load_file(str(path))
    assert protocol.problems(document, source) == []
    assert not re.search(r"\{\{|\{%", path.read_text())


@pytest.mark.parametrize("path", JOBS, ids=name_of)
def test_a_golden_job_starts_jupyter_on_the_port_that_the_cluster_gives(path: Path) -> None:
    job = yaml.safe_load(path.read_text())
    (role,) = job["taskRoles"]
    assert role == "taskrole"
    assert job["taskRoles"][role]["instances"] == 1
    ports = job["taskRoles"][role]["resourcePerInstance"]["ports"]
    assert ports["http"] == 1
    assert set(ports) <= {"http", "code"}
    script = protocol.task_commands(job)
    for option in (
        '--port="$PAI_PORT_LIST_taskrole_0_http"',
        "--ip=0.0.0.0",
        "--allow-root",
        "--ServerApp.root_dir=/root/courses",
        "--IdentityProvider.token=",
    ):
        assert option in script.split(), script
    variables = set(re.findall(r"\$\{?(\w+)", script))
    assert variables <= set(protocol.task_environment(job, ports=dict.fromkeys(ports, 8888)))  # nounset ends the job at any other


@pytest.mark.parametrize("path", sorted((ROOT / "yamls" / "old").glob("*.yaml")), ids=name_of)
def test_an_old_template_says_that_it_is_kept_for_reference(path: Path) -> None:
    assert "Kept for reference" in path.read_text().splitlines()[1]


# ------------------------------------------------------------------------------------------------- notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_valid_and_fresh(path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", identifier) for identifier in identifiers)
    assert notebook["cells"][0]["cell_type"] == "markdown"
    for cell in notebook["cells"]:
        expected = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            expected |= {"execution_count", "outputs"}
            assert cell["execution_count"] is None
            assert cell["outputs"] == []
            ast.parse("".join(cell["source"]))
        assert set(cell) == expected
        assert all(isinstance(line, str) for line in cell["source"])


IMPORT_NAMES = {"scikit-learn": "sklearn", "tensorflow-cpu": "tensorflow"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_notebook_imports_only_what_its_course_installs(path: Path) -> None:
    installed = {"numpy"} if path.parent.name == "OOB4" else set()  # TensorFlow needs numpy itself
    for requirements in (DOCKERFILES / path.parent.name).glob("requirements*.txt"):
        names = re.findall(r"^[A-Za-z0-9._-]+", requirements.read_text(), re.MULTILINE)
        installed |= {IMPORT_NAMES.get(name, name) for name in names}
    code = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code")
    imported = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert imported - set(sys.stdlib_module_names) <= installed

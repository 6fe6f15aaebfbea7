"""Job files: what is refused before anything is sent, how they are merged, written, compared and named."""

from __future__ import annotations

import copy
import re
from types import SimpleNamespace

import pytest
import yaml
from ansible.module_utils.golden_jobs import pai_jobs, protocol
from ansible.module_utils.golden_jobs.errors import GoldenJobsError
from ansible.module_utils.golden_jobs.progress import Progress

from tests.support import ROOT

JOB = """\
protocolVersion: 2
name: OOB3
type: job
jobRetryCount: 0
prerequisites:
  - type: dockerimage
    name: image
    uri: shaiic/ai-edu:v1.0
parameters:
  root: /root/courses
  list: [a, 1.0, true]
taskRoles:
  taskrole:
    instances: 1
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 1024, gpu: 0, ports: {http: 1}}
    commands:
      - "  cd <% $parameters.root %>  "
      - echo "${#PWD[@]}" {{ x }} <%$parameters.list[1]%> <% $parameters.list %>
defaults:
  virtualCluster: default
"""
PRIVATE = "reg:5000/a:v1\n    auth: {username: u, password: <% $secrets.p %>, registryuri: reg:5000}"
REGISTRY = {"address": "reg:5000", "username": "golden", "password": "1e5"}


def job(**changes):
    return protocol.merge(protocol.load_text(JOB)[0], changes)


def refused(text, name="yamls/x.yaml"):
    document, source = protocol.load_text(text, name)
    with pytest.raises(GoldenJobsError) as error:
        protocol.validate(document, source)
    return str(error.value)


def before_sending(text, folder):
    """What `pai_job` says of this file where it could send nothing: it has no login, which it says once the job is right."""
    (folder / "x.yaml").write_text(text)
    params = {name: option.get("default") for name, option in pai_jobs.JOB_SPEC.items()}
    params |= {"address": "http://127.0.0.1:1", "name": "OOB3", "job_file": str(folder / "x.yaml")}
    with pytest.raises(GoldenJobsError) as error:
        pai_jobs.ensure_job(SimpleNamespace(params=params, check_mode=False), Progress(None))
    return str(error.value)


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_example_of_the_field_is_accepted(path, tmp_path):
    document, source = protocol.load_file(str(path))
    assert protocol.problems(document, source) == []
    assert protocol.load_text(protocol.dump_yaml(document))[0] == document
    assert "No login for the cluster" in before_sending(path.read_text(), tmp_path)


def test_a_good_job_passes():
    assert protocol.problems(job(), protocol.Source("x")) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("protocolVersion: 2", "protocolVersion: 3", r"line 1, protocolVersion: 3 is not allowed; allowed: 2"),
        ("name: OOB3", "name: OOB 3", r"line 2, name: 'OOB 3' does not match"),
        ("name: OOB3", "name: " + "x" * 256, r"256 characters; at most 255"),
        ("name: OOB3\n", "", r"name is missing; required here: protocolVersion, name, type, taskRoles"),
        ("type: job\n", "type: task\n", r"line 3, type: \"task\" is not allowed; allowed: job"),
        ("jobRetryCount: 0", "jobRetryCount: -1", r"line 4, jobRetryCount: -1 is too small; at least 0"),
        ("jobRetryCount: 0", "jobRetries: 0", r"line 4, jobRetries: 'jobRetries' is not allowed here; allowed: contributor, "),
        ("type: dockerimage", "type: image", r"line 6, prerequisites\[0\]: a prerequisite has the type dockerimage, data, script or output"),
        ("    uri: shaiic/ai-edu:v1.0\n", "", r"line 6, prerequisites\[0\]: uri is missing"),
        ("uri: shaiic/ai-edu:v1.0", "uri: [shaiic/ai-edu:v1.0]", r"line 8, prerequisites\[0\]\.uri: .*wrong type; allowed: string"),
        ("uri: shaiic", "url: x\n    uri: shaiic", r"line 8, prerequisites\[0\]\.url: 'url' is not allowed here"),
        ("dockerImage: image", "dockerImage: picture", r"line 15, .*no prerequisite of type dockerimage 'picture'; known: image"),
        ("dockerImage: image", "dockerImage: image\n    script: s", r"no prerequisite of type script 's'; known: none"),
        ("dockerImage: image", "dockerImage: image\n    prerequisites: [s]", r"no prerequisite 's'; known: image"),
        ("    dockerImage: image\n", "", r"dockerImage is missing"),
        ("    instances: 1\n", "", r"instances is missing"),
        ("instances: 1", "instances: 0", r"0 is too small; at least 1"),
        ("instances: 1", 'instances: "1"', r"wrong type; allowed: integer"),
        ("  taskrole:", "  task_role:", r"line 13, taskRoles.task_role: .*allowed: 1 to 63 of a-z and 0-9"),
        ("  taskrole:", "  taskRole:", r"breaks inside the cluster"),
        ("  taskrole:", "  task-role:", r"'task-role' is not allowed here; allowed: names that match"),
        ("cpu: 1,", "cpu: 0,", r"resourcePerInstance.cpu: 0 cannot be given to a container; at least 1"),
        ("gpu: 0,", "gpu: -1,", r"resourcePerInstance.gpu: -1 cannot"),
        ("gpu: 0,", "", r"gpu is missing"),
        ("gpu: 0,", "gpu: 0.5,", r"wrong type; allowed: integer"),
        ("ports: {http: 1}", "ports: {http: 0}", r"0 is no number of ports"),
        ("ports: {http: 1}", "ports: {}", r"must not be empty"),
        ("ports: {http: 1}", "ports: {ht-tp: 1}", r"'ht-tp' is not allowed here"),
        ("$parameters.root %>", "$parameters.rot %>", r"line 18, .*<% \$parameters.rot %> names nothing.*known under \$parameters: root, list"),
        ("$parameters.root %>", "$parameters.root", r"a template tag is not closed"),
        ("$parameters.root", "$script.uri", r"names nothing"),
        ("  virtualCluster: default", "  deployment: prod", r"there is no deployment 'prod'; known: none"),
        ("uri: shaiic/ai-edu:v1.0", "uri: reg:5000/shaiic/ai-edu@sha256:00", r"names a digest"),
        ("uri: shaiic/ai-edu:v1.0", "uri: reg:5000/shaiic/AI:v1", r"upper case"),
        ("uri: shaiic/ai-edu:v1.0", "uri: reg:5000/a:V1", r"upper case"),
        ("uri: shaiic/ai-edu:v1.0", "uri: reg:5000/a:v1\n    auth: {username: u, password: p}", r"registryuri is missing.*registryuri: reg:5000"),
        ("uri: shaiic/ai-edu:v1.0", "uri: a:v1\n    auth: {username: u, password: p, registryuri: reg}", r"looked for on Docker Hub; write reg/a:v1"),
        ("uri: shaiic/ai-edu:v1.0", "uri: r.x/a:v1\n    auth: {username: u, password: p, registryuri: r.x}", r"shown to every user"),
        ("uri: shaiic/ai-edu:v1.0", "uri: r.x/a:v1\n    auth: {username: <% $secrets.u %>, password: <% $secrets.p %>, registryuri: r.x}", r"auth.username: there is no secret 'u'"),
        ("uri: shaiic/ai-edu:v1.0", "uri: r.x/a:v1\n    auth: {username: u, registryuri: r.x}", r"auth: password is missing, so the image is pulled without a login"),
        ("uri: shaiic/ai-edu:v1.0", "uri: r.x/a:v1\n    auth: {username: u, password: <% $secrets.p %>, registryuri: 'https://other.x/v2'}", r"line 9, .*registryuri: .*another registry than the image's; write registryuri: r.x"),
        ("uri: shaiic/ai-edu:v1.0", "uri: r.x/a:v1\n    auth: {username: u, password: <% $secrets.p %>}", r"registryuri is missing.*write registryuri: r.x"),
        ("uri: shaiic/ai-edu:v1.0", "uri: 'https://r.x/a:v1'", r"is no image reference; write host/repository:tag"),
        ("uri: shaiic/ai-edu:v1.0", "uri: 'r.x/a: v1'", r"is no image reference"),
        ("uri: shaiic/ai-edu:v1.0", "uri: ''", r"is no image reference"),
        ("uri: shaiic/ai-edu:v1.0", "uri: x\n    auth: {user: u}\n    note: x", r"'note' is not allowed here"),
        ("parameters:\n", "  - {type: data, name: d, uri: hdfs}\nparameters:\n", r"prerequisites\[1\].uri: \"hdfs\" is of the wrong type; allowed: array"),
        ("parameters:\n", "  - {type: script, name: s, uri: [a]}\nparameters:\n", r"prerequisites\[1\].uri: .*allowed: string"),
        ("parameters:\n", "  - {type: script, name: 's 1', uri: a}\nparameters:\n", r"prerequisites\[1\].name: 's 1' does not match"),
        ("parameters:\n", "  - {type: script, uri: a}\nparameters:\n", r"prerequisites\[1\]: name is missing"),
        (JOB[JOB.index("prerequisites:"):JOB.index("parameters:")], "prerequisites: []\n", r"prerequisites: this must not be empty"),
        ("instances: 1", "instances: 1\n    completion: {minFailedInstances: 2}", r"completion.minFailedInstances: 2 tasks can never end like that; allowed: 1 to 1"),
        ("instances: 1", "instances: 1\n    completion: {minSucceededInstances: all}", r"wrong type; allowed: integer or null"),
        ("instances: 1", "instances: 1\n    completion: {minSucceeded: 1}", r"'minSucceeded' is not allowed here; allowed: minFailedInstances, minSucceededInstances"),
        ("instances: 1", "instances: 1\n    taskRetryCount: many", r"taskRetryCount: .*allowed: integer"),
        ("instances: 1", "instances: 1\n    extraContainerOptions: {shmMB: big}", r"shmMB: .*allowed: integer"),
        ("memoryMB: 1024", "memoryMB: 0", r"memoryMB: 0 cannot be given to a container"),
        ("memoryMB: 1024", "memory: 1024", r"resourcePerInstance: memoryMB is missing"),
        ("  taskrole:", "  1:", r"taskRoles.1: '1' is not allowed here; allowed: names that match"),
        ("cd <% $parameters.root %>", "cd <% $secrets.dir %>", r"commands\[0\]: there is no secret 'dir'; known: none"),
        ("cd <% $parameters.root %>", "<%# if %> cd", r"drops or refuses a template tag that begins with <%#; only <% \$name %> is allowed"),
        ("$parameters.root", "$parameters.list[9]", r"<% \$parameters.list\[9\] %> names nothing"),
        ("uri: shaiic/ai-edu:v1.0", "uri: r.x/a:v1\n    auth: {username: u, password: <% $secrets.p %>, registryuri: r.x}", r"no secret 'p'; known: none"),
        ("uri: shaiic/ai-edu:v1.0", "uri: r.x/a:v1\n    auth: {username: u, password: 123, registryuri: r.x}", r"allowed: string"),
        ("parameters:\n", "  - {type: dockerimage, name: image, uri: x}\nparameters:\n", r"line 9, prerequisites\[1\].name: another dockerimage"),
        ("parameters:\n", "  - {type: script, name: image, uri: x}\nparameters:\n", r"an image and another prerequisite are both named"),
        ("defaults:\n", "secrets: '******'\ndefaults:\n", r"secrets: these secrets are masked"),
        ("defaults:\n", "secrets: [a]\ndefaults:\n", r"secrets: .*wrong type; allowed: object"),
        ("defaults:\n", "extras: {hivedScheduler: {jobPriorityClass: crit}}\ndefaults:\n", r"'crit' is refused by the server; allowed: prod, test, oppo"),
        ("defaults:\n", "extras: {hivedScheduler: {taskRoles: {other: {}}}}\ndefaults:\n", r"there is no task role 'other'; known: taskrole"),
        ("defaults:\n", "deployments: [{name: a, taskRoles: {x: {}}}]\ndefaults:\n", r"there is no task role 'x'"),
        ("defaults:\n", "deployments: [{name: a, taskRoles: {taskrole: {}}}, {name: a, taskRoles: {taskrole: {}}}]\ndefaults:\n", r"names are unique"),
        ("defaults:\n", "deployments: [{name: a, taskRoles: {taskrole: {preCommands: [echo <% $parameters.no %>]}}}]\ndefaults:\n", r"deployments\[0\].taskRoles.taskrole.preCommands\[0\]: <% \$parameters.no %> names nothing"),
        ("defaults:\n", "deployments: [{name: a, taskRoles: {taskrole: {preCommands: []}}}]\ndefaults:\n", r"preCommands: this must not be empty"),
        ("defaults:\n", "extras: {storages: {name: x}}\ndefaults:\n", r"extras.storages: storages are a list of name and, if need be, mountPath"),
        ("defaults:\n", "extras: {storages: [x]}\ndefaults:\n", r"extras.storages\[0\]: storages are"),
        ("defaults:\n", "extras: {com.microsoft.pai.runtimeplugin: [{parameters: {}}]}\ndefaults:\n", r"runtime plugins are a list of plugin and parameters"),
        ("defaults:\n", "extras: {com.microsoft.pai.runtimeplugin: [{plugin: ssh, taskroles: [w]}]}\ndefaults:\n", r"no task role 'w'; known: taskrole"),
        ("defaults:\n", "extras: {hivedScheduler: {taskRoles: {taskrole: {skuType: A, pinnedCellId: b}}}}\ndefaults:\n", r"skuType and pinnedCellId exclude each other"),
        ("defaults:\n", "extras: [a]\ndefaults:\n", r"extras: .*allowed: object"),
        ("name: OOB3\n", "name: |\n  OOB3\n", r"ends with a line break; write it on one line"),
        (JOB[JOB.index("    commands:"):JOB.index("defaults:")], "    commands: []\n", r"taskRoles.taskrole.commands: this must not be empty"),
        (JOB[JOB.index("    commands:"):JOB.index("defaults:")], "    commands: [1]\n", r"commands\[0\]: 1 is of the wrong type; allowed: string"),
        (JOB[JOB.index("taskRoles:"):JOB.index("defaults:")], "taskRoles: {}\n", r"taskRoles: this must not be empty"),
        ("    commands:\n", "    command: x\n    commands:\n", r"'command' is not allowed here; allowed: commands, completion"),
    ],
)  # fmt: skip
def test_a_broken_job_is_refused_with_place_and_rule(old, new, expected, tmp_path):
    assert old in JOB
    message = refused(JOB.replace(old, new, 1))
    assert message.startswith("yamls/x.yaml")
    assert re.search(expected, message), message
    assert "\n" not in message
    if not old.startswith("name:"):  # the module gives the job its name
        assert before_sending(JOB.replace(old, new, 1), tmp_path).partition(", ")[2] == message.partition(", ")[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", r"x.yaml, line 1: not readable as YAML"),
        ("a: 1\na: 2\n", r"x.yaml, line 2, a: this key is written twice \(first in line 1\)"),
        ("a:\n\tb: 1\n", r"x.yaml, line 2: not readable"),
        ("- a\n", r"a job file is one YAML map"),
        ("", r"a job file is one YAML map"),
        ("a: !!python/object:os.system x\n", r"not readable as YAML"),
        ("a: 1\n---\nb: 1\n", r"not readable as YAML"),
        ("a: \x00", r"x.yaml: not readable as YAML"),
        ("a: &a [*a]\n", r"x.yaml, line 1, a\[0\]: this alias makes the job endless"),
        ("[" * 5000, r"x.yaml: .*not readable as YAML|nested too deeply"),
        (
            "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)),
            r"this alias makes the job endless",
        ),
        ("? [a, b]\n: 1\n", r"x.yaml, line 1: not readable as YAML"),
    ],
)
def test_text_that_is_no_job_file_is_one_sentence_with_its_line(text, expected):
    with pytest.raises(GoldenJobsError) as error:
        protocol.load_text(text, "x.yaml")
    assert re.search(expected, str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(GoldenJobsError, match=r"job.yaml: the job file cannot be read \(No such file or directory\)"):
        protocol.load_file(str(tmp_path / "job.yaml"))


def test_words_are_read_as_the_server_reads_them():
    data = protocol.load_text("a: yes\nb: 12:30\nc: 2020-01-01\nd: true\ne: 1e3\nf: 0x10\ng: ~\n")[0]
    assert data == {"a": "yes", "b": "12:30", "c": "2020-01-01", "d": True, "e": 1000.0, "f": 16, "g": None}


def test_every_problem_is_listed():
    broken = job(taskRoles={"taskrole": {"dockerImage": "x", "instances": None}})
    with pytest.raises(GoldenJobsError, match=r"and 1 more") as error:
        protocol.validate(broken)
    assert len(error.value.details["problems"]) == 2


def test_the_merge_order_is_template_image_cluster_registry_secrets_overrides():
    template = job()
    before = copy.deepcopy(template)
    merged = protocol.effective_protocol(
        template,
        image="reg:5000/a:v1-00",
        name="golden-OOB3-00000000-1",
        virtual_cluster="gpu",
        registry=REGISTRY,
        secrets={"token": "t"},
        overrides={
            "defaults": {"virtualCluster": "other"},
            "taskRoles": {"taskrole": {"resourcePerInstance": {"gpu": 2, "ports": None}}},
            "secrets": {"token": "u"},
        },
    )
    assert template == before
    assert merged["name"] == "golden-OOB3-00000000-1"
    assert merged["defaults"] == {"virtualCluster": "other"}
    assert merged["taskRoles"]["taskrole"]["resourcePerInstance"] == {"cpu": 1, "memoryMB": 1024, "gpu": 2}
    auth = {"username": "golden", "password": "<% $secrets.registry_password %>", "registryuri": "reg:5000"}
    assert merged["prerequisites"] == [{"type": "dockerimage", "name": "image", "uri": "reg:5000/a:v1-00", "auth": auth}]
    assert merged["secrets"] == {"registry_password": "1e5", "token": "u"}
    assert protocol.problems(merged, protocol.Source("x")) == []


def test_with_several_images_the_one_of_the_first_task_role_is_filled():
    template = job(prerequisites=[{"type": "dockerimage", "name": "a", "uri": "a"}, {"type": "dockerimage", "name": "image", "uri": "b"}])
    merged = protocol.effective_protocol(template, image="c")
    assert [item["uri"] for item in merged["prerequisites"]] == ["a", "c"]


def test_a_registry_without_user_needs_no_auth():
    merged = protocol.effective_protocol(job(), image="r.x/a:1", registry={"address": "r.x", "username": ""})
    assert "auth" not in merged["prerequisites"][0]
    assert "secrets" not in merged


def test_a_template_without_image_and_an_override_of_the_name_are_refused():
    with pytest.raises(GoldenJobsError, match="no prerequisite of type dockerimage"):
        protocol.effective_protocol(job(prerequisites=None), image="x")
    with pytest.raises(GoldenJobsError, match="must not set its name"):
        protocol.effective_protocol(job(), overrides={"name": "x"})


#: What rest-server v1.8 masks (src/utils/protocolSecret.js), in words: from an unquoted `secrets:` at the start of a
#: line up to the next line that begins with a word character.
def masked_by_server(text):
    return re.sub(r"^secrets:(?:.|\n)*?(?=^\w|\Z)", "secrets: '******'\n", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "secret", ["plain", "1e5", "0123", "yes", "two\nlines", "\n", "# x", "'", "a: b", "- x", "ü", " x ", "secrets:", "\u2028x", "null", ""]
)
def test_secrets_survive_the_way_to_the_server_and_are_masked_there(secret):
    wanted = protocol.effective_protocol(job(secrets={"first": secret}), secrets={"list": [secret], "map": {"key": secret}})
    text = protocol.dump_yaml({"secrets": wanted["secrets"], **{key: value for key, value in wanted.items() if key != "secrets"}})
    assert yaml.safe_load(text)["secrets"] == wanted["secrets"]
    assert protocol.load_text(text)[0] == wanted
    seen = masked_by_server(text)
    assert protocol.same_job(wanted, protocol.load_text(seen)[0])
    assert text.rstrip("\n").split("\nsecrets:")[0] in seen


def test_what_is_written_reads_back_the_same():
    wanted = job(
        description="a\n\n  b \n",
        version="1e3",
        contributor="yes",
        parameters={"x": "12:30", "y": "0o7", "z": [{"a": None}], "long": "w " * 300},
    )
    assert protocol.load_text(protocol.dump_yaml(wanted))[0] == wanted


def test_a_job_that_the_server_would_refuse_for_its_size_is_refused_here():
    with pytest.raises(GoldenJobsError, match=r"bytes as YAML; OpenPAI takes at most 102400"):
        protocol.dump_yaml(job(description="x" * 102_400))


def test_a_job_that_is_too_large_is_refused_with_its_file():
    assert re.search(
        r"^yamls/x.yaml: the job has \d+ bytes as YAML; at most 102400: put long scripts", refused(JOB + "description: " + "x" * 102_400)
    )


def test_keys_are_texts_as_in_the_server():
    assert protocol.load_text("a: {2: b, true: c}\n")[0] == {"a": {"2": "b", "true": "c"}}
    assert protocol.with_text_keys({"a": [{1: 2}]}) == {"a": [{"1": 2}]}


def test_a_private_image_with_its_secret_passes():
    document, source = protocol.load_text(JOB.replace("shaiic/ai-edu:v1.0", PRIVATE) + "secrets: {p: x}\n")
    assert protocol.problems(document, source) == []


def test_a_clone_has_neither_the_masked_secrets_nor_the_portals_mark():
    config = {**job(extras={"submitFrom": "portal", "storages": []}), "secrets": "******"}
    before = copy.deepcopy(config)
    assert protocol.clone(config, "job") == job(extras={"storages": []})
    assert config == before
    with pytest.raises(GoldenJobsError, match="is of OpenPAI's first protocol and cannot be cloned"):
        protocol.clone({"protocol_version": 1, "name": "x"}, "job 'x'")


def test_differences_are_paths_down_to_what_is_not_the_same():
    one = {"a": {"b": [1, {"c": 2}], "d": 3}, "e": [1]}
    assert protocol.differences(one, {"a": {"b": [1, {"c": 3}]}, "e": [1, 2], "f": None}) == ["a.b[1].c", "a.d", "e"]


def test_what_is_shown_has_no_password():
    auth = {"username": "u", "password": "geheim", "registryuri": "r.x"}
    shown = protocol.masked(
        job(prerequisites=[{"type": "dockerimage", "name": "image", "uri": "r.x/a", "auth": auth}], secrets={"a": "geheim"})
    )
    assert "geheim" not in str(shown)
    assert shown["secrets"] == shown["prerequisites"][0]["auth"]["password"] == "******"


def test_same_job_ignores_secrets_and_number_types_and_nothing_else():
    wanted = protocol.effective_protocol(job(version=1.0), secrets={"a": "1"})
    config = {**protocol.masked(wanted), "version": 1}
    assert protocol.same_job(wanted, config)
    assert not protocol.same_job(wanted, {key: value for key, value in config.items() if key != "secrets"})
    assert not protocol.same_job(wanted, {**config, "jobRetryCount": 1})
    assert protocol.same_job(job(secrets={}), job())


def test_the_revision_follows_image_and_job_but_not_name_secret_or_key_order():
    base = protocol.effective_protocol(job(), image="r/a:1", registry=REGISTRY)
    revision = protocol.revision("r/a:1", base)
    assert re.fullmatch(r"[0-9a-f]{8}", revision)
    assert protocol.revision("r/a:1", {**base, "name": "other"}) == revision
    assert protocol.revision("r/a:1", {**base, "secrets": {"registry_password": "new"}}) == revision
    assert protocol.revision("r/a:1", dict(reversed(base.items()))) == revision
    assert protocol.revision("r/a:2", base) != revision
    assert protocol.revision("r/a:1", {**base, "secrets": {"registry_password": "1e5", "more": "x"}}) != revision
    assert protocol.revision("r/a:1", protocol.merge(base, {"defaults": {"virtualCluster": "gpu"}})) != revision


def test_commands_become_the_script_that_the_cluster_runs():
    script = protocol.task_commands(job())
    assert script == ('set -o errexit -o nounset -o pipefail\ncd /root/courses\necho "${#PWD[@]}" {{ x }} 1 a,1,true\n')
    secret = {"taskrole": {"commands": ["login <% $secrets.token %>"]}}
    assert "login <% $secrets.token %>" in protocol.task_commands(job(taskRoles=secret), "taskrole")
    assert "login TOKEN" in protocol.task_commands(job(taskRoles=secret, secrets={"token": "TOKEN"}), "taskrole")


def test_the_default_deployment_stands_around_the_commands():
    around = {"name": "d", "taskRoles": {"taskrole": {"preCommands": ["echo pre"], "postCommands": ["echo post"]}}}
    lines = protocol.task_commands(job(deployments=[around], defaults={"deployment": "d"})).splitlines()
    assert (lines[1], lines[-1]) == ("echo pre", "echo post")


def test_an_unknown_task_role_is_refused():
    with pytest.raises(GoldenJobsError, match="no task role 'x'; known: taskrole"):
        protocol.task_commands(job(), "x")


def test_a_task_sees_its_ports():
    environment = protocol.task_environment(job(), ports={"http": 8888, "ssh": 22})
    assert environment["PAI_PORT_LIST_taskrole_0_http"] == "8888"
    assert environment["PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX"] == "0"
    assert all(isinstance(value, str) for value in environment.values())


@pytest.mark.parametrize(
    ("reference", "tag"),
    [("r:5000/a/b:v1.0-abc", "v1.0-abc"), ("r:5000/a/b", ""), ("a:1@sha256:00", "1"), ("", "")],
)
def test_the_tag_of_an_image_reference(reference, tag):
    assert protocol.image_tag(reference) == tag

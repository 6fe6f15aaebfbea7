"""What looks like a secret in an image's environment and history, and what does not."""

from __future__ import annotations

import pytest
from ansible.module_utils.golden_jobs import image_check_config, secret_scan

SECRET = "do-not-show-me-7f3a"


@pytest.mark.parametrize(
    "name",
    ["PASSWORD", "DB_PASSWORD", "db-passwd", "API_TOKEN", "apiToken", "NPM_AUTH", "AWS_SECRET_ACCESS_KEY", "SSH_KEY", "IdentityProvider.token", "CREDENTIALS"],
)  # fmt: skip
def test_names_of_secrets(name: str):
    assert secret_scan.is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["PATH", "PWD", "HOME", "GPG_KEY", "SSH_PUBLIC_KEY", "SSH_AUTH_SOCK", "TOKEN_FILE", "PASSWORD_MIN_LENGTH", "KEYBOARD", "MONKEY", "LANG", "TOKENIZERS"],
)  # fmt: skip
def test_names_that_only_sound_like_secrets(name: str):
    assert not secret_scan.is_secret_name(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", SECRET),
        ("HTTP_PROXY", f"http://bob:{SECRET}@proxy.example.com:3128"),
        ("https_proxy", f"http://:{SECRET}@proxy.example.com:3128"),
        ("PIP_INDEX_URL", f"https://bob:{SECRET}@pypi.example.com/simple"),
        ("DATA", f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}"),
        ("DATA", f"-----BEGIN PRIVATE KEY-----\n{SECRET}"),
        ("DATA", "ghp_" + "a1" * 20),
        ("DATA", "hf_" + "a1" * 20),
        ("DATA", "AKIA" + "A1" * 8),
    ],
)
def test_a_secret_in_the_environment_is_named_and_not_shown(name: str, value: str):
    problem = image_check_config.secret_problem({"Env": ["PATH=/bin", f"{name}={value}"]}, [{"CreatedBy": f"ENV {name}={value}"}], [])
    assert problem is not None
    assert problem.count("variable") == 1
    assert name in problem
    assert value not in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", ""),
        ("API_TOKEN", "$OTHER"),
        ("API_TOKEN", "/run/secrets/token"),
        ("USE_PASSWORD", "false"),
        ("GPG_KEY", "A035C8C19219BA821ECEA86B64E628F8D684696D"),
        ("HTTP_PROXY", "http://proxy.example.com:3128"),
        ("REPOSITORY", "ssh://git@example.com/course"),
        ("REPOSITORY", "https://bob:${TOKEN}@example.com/course"),
        ("HTTP_PROXY", "http://***:***@proxy.example.com:3128"),
    ],
)
def test_a_variable_without_a_secret_passes(name: str, value: str):
    assert image_check_config.secret_problem({"Env": [f"{name}={value}"]}, [{"CreatedBy": f"ENV {name}={value}"}], []) is None


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (f"RUN |1 NPM_TOKEN={SECRET} /bin/sh -c npm ci # buildkit", "gives NPM_TOKEN a value"),
        (f"/bin/sh -c #(nop)  ENV PASSWORD={SECRET}", "gives PASSWORD a value"),
        (f"/bin/sh -c export TOKEN='{SECRET}' && make", "gives TOKEN a value"),
        (f"/bin/sh -c login --user bob --password {SECRET}", "gives password a value"),
        (f'CMD ["jupyter" "lab" "--ServerApp.token={SECRET}"]', "gives ServerApp.token a value"),
        (
            f"/bin/sh -c pip install --index-url https://bob:{SECRET}@pypi.example.com/simple x",
            "a URL with a password (host pypi.example.com)",
        ),
        (f"/bin/sh -c curl -H 'Authorization: Bearer {SECRET}' https://example.com", "an authorization header"),
    ],
)
def test_a_secret_in_the_history_is_located_and_not_shown(step: str, says: str):
    problem = image_check_config.secret_problem({}, [{"CreatedBy": step}, {"CreatedBy": "/bin/sh -c true"}], [])
    assert problem is not None
    assert says in problem
    assert "step 2 of the history" in problem
    assert SECRET not in problem


@pytest.mark.parametrize(
    "step",
    [
        "RUN /bin/sh -c --mount=type=secret,id=site_env : 'uv pip install'; . /run/secrets/site_env && uv pip install -r /tmp/requirements.txt",
        "CMD [\"jupyter\" \"notebook\" \"--IdentityProvider.token=\" \"--port=8888\"]",
        "/bin/sh -c curl -H \"Authorization: Bearer $TOKEN\" https://example.com",
        "/bin/sh -c TOKEN=$(cat /run/secrets/token) make",
        "/bin/sh -c echo \"$PASSWORD\" | docker login --password-stdin registry.example.com",
        "/bin/sh -c gpg --batch --recv-keys \"$GPG_KEY\" && apt-get install --no-install-recommends tini",
        "/bin/sh -c printf '%s\\n' path-exclude=/usr/share/doc/* > /etc/dpkg/dpkg.cfg.d/container",
    ],
)  # fmt: skip
def test_a_step_without_a_secret_passes(step: str):
    assert image_check_config.secret_problem({}, [{"CreatedBy": step}], []) is None


@pytest.mark.parametrize("allowed", ["HTTP_PROXY", "proxy.example.com"])
def test_what_is_allowed_passes_by_the_name_of_its_variable_or_host(allowed: str):
    variable = f"HTTP_PROXY=http://bob:{SECRET}@proxy.example.com:3128"
    config, history = {"Env": [variable]}, [{"CreatedBy": f"ENV {variable}"}]
    assert image_check_config.secret_problem(config, history, []) is not None
    assert image_check_config.secret_problem(config, history, [allowed]) is None


def test_allowing_one_thing_does_not_hide_another():
    history = [{"CreatedBy": f"/bin/sh -c A_KEY=x B_KEY={SECRET} git clone https://bob:{SECRET}@example.com/x"}]
    problem = str(image_check_config.secret_problem({}, history, ["A_KEY"]))
    assert "gives B_KEY a value" in problem
    assert "host example.com" in problem


def test_a_label_with_a_password_is_found():
    config = {"Labels": {"source": f"https://bob:{SECRET}@example.com/x", "tokens": "many"}}
    assert image_check_config.secret_problem(config, [], []) == "the label source holds a URL with a password (host example.com)"

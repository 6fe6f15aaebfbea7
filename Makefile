# Golden Jobs: `make demo` shows the whole thing on this machine, `make help` lists the rest.
# Needs make, git and python3; everything else is installed from PyPI and the distribution's packages.
SHELL := /bin/sh
VENV := .venv
ANSIBLE_PLAYBOOK := $(VENV)/bin/ansible-playbook
# Everything that finds its tools by name (git hooks, ansible's own sub-processes) finds ours first.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv up demo down purge lint sanity unit integration scenarios molecule test test-all bench

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

venv: $(VENV)/.installed

$(VENV)/.installed: requirements.txt
	@tools/venv.sh $(VENV) requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt
	@tools/venv.sh $(VENV) requirements-dev.txt
	@touch $@ $(VENV)/.installed

up: venv ## bring up the local platform: engine, registry, base image, two PAI clusters
	$(ANSIBLE_PLAYBOOK) playbooks/local.yml

demo: up ## bring up the local platform, rebuild OOB3 and roll it out
	$(ANSIBLE_PLAYBOOK) rebuild.yml -e course=OOB3
	@$(ANSIBLE_PLAYBOOK) playbooks/status.yml -e course=OOB3
	@cat docs/next.txt

down: venv ## stop and remove what `up` has started; images and repositories stay
	$(ANSIBLE_PLAYBOOK) playbooks/local_down.yml

purge: down ## down, and delete the local platform's data as well
	$(ANSIBLE_PLAYBOOK) playbooks/local_purge.yml

lint: $(VENV)/.installed-dev ## ruff, mypy, yamllint, ansible-lint
	ruff check .
	ruff format --check .
	mypy module_utils/golden_jobs
	MYPYPATH=roles/pai_sandbox/files mypy -p pai_sandbox
	yamllint --strict .
	ansible-lint

sanity: $(VENV)/.installed-dev ## ansible-test sanity on modules and plugins
	python tools/sanity.py

unit: $(VENV)/.installed-dev ## tests that need no engine
	pytest tests/unit

integration: $(VENV)/.installed-dev ## tests on a real engine, a real registry and the PAI sandbox
	pytest tests/integration

test: lint sanity unit integration ## everything that a change has to pass

scenarios: $(VENV)/.installed-dev ## tests that take longer
	pytest tests/scenarios

molecule: $(VENV)/.installed-dev up ## the roles on fresh VMs
	for scenario in build_server registry pai_sandbox; do molecule test --scenario-name $$scenario || exit 1; done

test-all: test scenarios molecule ## all of these

$(VENV)/.installed-bench: tests/bench/requirements.txt $(VENV)/.installed
	@tools/venv.sh $(VENV) tests/bench/requirements.txt
	@touch $@

bench: $(VENV)/.installed-bench up ## measure beside a script by hand and a peer's playbook; ONLY=cold,noop for a part
	python -m tests.bench --only "$(ONLY)"

#!/bin/sh
# venv.sh FOLDER REQUIREMENTS: a virtual environment with these packages; installs the distribution's venv package if it is missing.
set -eu
venv=$1 requirements=$2

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# An interrupted run may have left half an environment.
if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  rm -rf "$venv"
  if ! python3 -m venv "$venv" >/dev/null 2>&1; then
    rm -rf "$venv"
    echo "installing the distribution's python3-venv"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    # The python3 that is first on PATH may not be the distribution's.
    python3 -m venv "$venv" 2>/dev/null || /usr/bin/python3 -m venv "$venv"
  fi
fi
echo "installing $requirements into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"

#!/bin/sh
# prune.sh HOURS: removes images that are older and that no container, running or not, uses. While anything is built here it does nothing:
# builds hold the lock together (module_utils/golden_jobs/engine_lock.py).
set -eu
exec flock --nonblock --conflict-exit-code 0 /run/lock/golden-jobs-engine docker image prune --all --force --filter "until=$1h"

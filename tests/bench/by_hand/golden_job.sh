#!/bin/sh
# A course as it is taken to the clusters by hand: docker build, docker push, then curl to each cluster, one after another.
#   golden_job.sh rebuild   build CONTEXT as IMAGE, push it, roll it out; stops when the build gave the image that was there
#   golden_job.sh rollout   roll IMAGE out
#   golden_job.sh status    say what runs where
# CLUSTERS: addresses; JOB: job file with NAME and IMAGE to be filled in; COURSE: first part of the job's name; PAI_USER, PAI_PASSWORD;
# PROBE: 1 to wait until the job answers, too; DOCKER: the docker CLI, which has logged in before.
set -eu

call() { # METHOD PATH [TYPE BODY]: the cluster's answer
  if [ $# = 2 ]; then
    set -- "$@" text/plain ''
  fi
  curl --silent --show-error --fail --noproxy '*' --request "$1" --header "Authorization: Bearer $token" --header "Content-Type: $3" \
    --data-binary "$4" "$cluster/api/v2/$2"
}

log_in() {
  token=
  token=$(call POST authn/basic/login application/json "{\"username\": \"$PAI_USER\", \"password\": \"$PAI_PASSWORD\"}" | sed -n 's/.*"token":"\([^"]*\)".*/\1/p')
}

running() { # names of the course's jobs
  call GET "jobs?keyword=$COURSE-&state=WAITING,RUNNING" | grep -o '"name":"[^"]*"' | cut -d '"' -f 4 || :
}

address() { # of the job's first task; nothing until it runs
  call GET "jobs/$PAI_USER~$1" | sed -n 's/.*"state":"RUNNING".*"containerIp":"\([^"]*\)".*"containerPorts":{[^}]*"http":"\([0-9]*\)".*/\1:\2/p'
}

replace_job() {
  log_in
  old=$(running)
  name=$COURSE-$(date +%s%N)
  call POST jobs text/yaml "$(sed "s|NAME|$name|; s|IMAGE|$IMAGE|" "$JOB")" >/dev/null
  until at=$(address "$name") && [ "$at" ]; do sleep 1; done
  if [ "$PROBE" ]; then
    until curl --silent --fail --noproxy '*' "http://$at/api" >/dev/null; do sleep 1; done
  fi
  for job in $old; do
    call PUT "jobs/$PAI_USER~$job/executionType" application/json '{"value": "STOP"}' >/dev/null
  done
  echo "$name runs at http://$at"
}

roll_out() {
  for cluster in $CLUSTERS; do replace_job; done
}

rebuild() {
  git -C "$CONTEXT/courseware" pull --quiet
  before=$($DOCKER images --quiet "$IMAGE")
  DOCKER_BUILDKIT=0 $DOCKER build --tag "$IMAGE" "$CONTEXT"
  if [ "$before" = "$($DOCKER images --quiet "$IMAGE")" ]; then
    echo "nothing has changed"
    return
  fi
  $DOCKER push "$IMAGE"
  roll_out
}

status() {
  for cluster in $CLUSTERS; do
    log_in
    echo "$cluster $(running)"
  done
}

case $1 in
  rebuild) rebuild ;;
  rollout) roll_out ;;
  status) status ;;
esac

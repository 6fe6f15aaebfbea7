#!/bin/sh
# daemon.sh start|stop|restart STATE_DIR NAME [COMMAND ARGUMENT...]
#
# Runs a program without an init system. Says "started", "running", "stopped" or "absent".
# A pid alone proves nothing after a crash or a reboot (another program may have it), so the pid file holds the
# boot's id, the pid and the process's start time, and all three have to fit.
set -eu
action=$1 dir=$2 name=$3
shift 3
pidfile=$dir/$name.pid
logfile=$dir/$name.log
stop_timeout_s=30

started_at() { # PID -> clock ticks since boot, nothing for a zombie; the name in field 2 may hold blanks
  sed -n 's/.*) \([^ZX] .*\)/\1/p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

running() { # sets pid
  [ -f "$pidfile" ] || return 1
  read -r boot pid ticks <"$pidfile" || return 1
  [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] && [ "$(started_at "$pid")" = "$ticks" ]
}

stop() {
  if ! running; then
    rm -f "$pidfile"
    return 1
  fi
  kill "$pid"
  tenths=$((stop_timeout_s * 10))
  while running && [ "$tenths" -gt 0 ]; do
    sleep 0.1
    tenths=$((tenths - 1))
  done
  if running; then kill -KILL "$pid"; fi
  rm -f "$pidfile"
}

start() {
  mkdir -p "$dir"
  setsid nohup "$@" >>"$logfile" 2>&1 </dev/null &
  pid=$!
  printf '%s %s %s\n' "$(cat /proc/sys/kernel/random/boot_id)" "$pid" "$(started_at "$pid")" >"$pidfile"
}

case $action in
  start)
    if running; then echo running; else start "$@"; echo started; fi ;;
  restart)
    stop || :
    start "$@"
    echo started ;;
  stop)
    if stop; then echo stopped; else echo absent; fi ;;
  *)
    echo "daemon.sh: unknown action $action: start, stop or restart" >&2
    exit 2 ;;
esac

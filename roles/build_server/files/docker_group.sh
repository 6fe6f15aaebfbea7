#!/bin/sh
# docker_group.sh RECORD [--check] USER...: has these users in the group docker, and takes out those that an earlier call has put in and this one
# does not name. Prints what it changes.
set -eu
record=$1
shift
act=yes
if [ "${1-}" = --check ]; then act=; shift; fi
members=$(getent group docker | cut -d: -f4 | tr , ' ') || members=
before=$(cat "$record" 2>/dev/null) || before=
for user in "$@"; do
  if ! id "$user" >/dev/null 2>&1; then
    echo "There is no user $user on this machine (build_server_users): make it first, or take it out." >&2
    exit 1
  fi
done
for user in "$@"; do
  case " $members " in *" $user "*) continue ;; esac
  echo "in: $user"
  if [ "$act" ]; then gpasswd --add "$user" docker >/dev/null; fi
done
for user in $before; do
  case " $* " in *" $user "*) continue ;; esac
  case " $members " in *" $user "*) ;; *) continue ;; esac
  echo "out: $user"
  if [ "$act" ]; then gpasswd --delete "$user" docker >/dev/null; fi
done
if [ "$act" ]; then mkdir -p "$(dirname "$record")"; echo "$*" >"$record"; fi

#!/bin/sh
# Removes the pid files of a killed dockerd or containerd whose pid is gone or belongs to another program now: dockerd
# would refuse to start, or wait for a containerd that is none. Says which it removed.
for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
  [ -f "$file" ] || continue
  case $(cat "/proc/$(cat "$file")/comm" 2>/dev/null) in
    dockerd | containerd) ;;
    *) rm -f "$file" && echo "$file" ;;
  esac
done

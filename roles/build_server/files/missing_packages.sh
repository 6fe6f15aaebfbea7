#!/bin/sh
# missing_packages.sh REQUIRED... -- OPTIONAL...: prints the required packages that are not installed, and the optional ones that are not
# installed although the distribution has them.
set -eu
optional=
for package in "$@"; do
  if [ "$package" = -- ]; then optional=yes; continue; fi
  if command -v dpkg-query >/dev/null; then
    case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) in installed) continue ;; esac
    if [ "$optional" ] && ! apt-cache show "$package" >/dev/null 2>&1; then continue; fi
  else
    if rpm -q --whatprovides "$package" >/dev/null 2>&1; then continue; fi
  fi
  echo "$package"
done

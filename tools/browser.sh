#!/usr/bin/env bash
# Install Debian's Chromium where that is allowed; without it the browser tests are skipped, and say so.
set -uo pipefail
if command -v chromium >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  if apt-get update -qq >"$log" 2>&1 &&
     apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends chromium chromium-driver >>"$log" 2>&1; then
    echo "installed Chromium"
  else
    tail -n 5 "$log" >&2
    echo "Chromium could not be installed: the browser tests will be skipped" >&2
  fi
  rm -f "$log"
else
  echo "no Chromium, and no right to install it: the browser tests will be skipped (apt-get install chromium)" >&2
fi

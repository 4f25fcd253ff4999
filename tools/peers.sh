#!/usr/bin/env bash
# Install the DICOM programs of others that tests talk to; without them those tests are skipped, and say so.
# With `orthanc`, install the server that tests/conform is held against, too; with `bench`, all that the comparisons run
# beside us.
set -uo pipefail
wanted=()
command -v storescu >/dev/null || wanted+=(dcmtk)
case "${1:-}" in orthanc | bench)
  command -v Orthanc >/dev/null || wanted+=(orthanc orthanc-dicomweb orthanc-gdcm) ;;
esac
if [ "${1:-}" = bench ]; then
  command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || wanted+=(nginx)
  command -v wrk >/dev/null || wanted+=(wrk)
  command -v h2load >/dev/null || wanted+=(nghttp2-client)
fi
[ "${#wanted[@]}" -gt 0 ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  log=$(mktemp)
  if apt-get update -qq >"$log" 2>&1 &&
     apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${wanted[@]}" >>"$log" 2>&1; then
    echo "installed ${wanted[*]}"
  else
    tail -n 5 "$log" >&2
    echo "${wanted[*]} could not be installed: what needs them is skipped" >&2
  fi
  rm -f "$log"
else
  echo "not there, and no right to install it: ${wanted[*]}; what needs it is skipped" >&2
fi

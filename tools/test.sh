#!/usr/bin/env bash
# All tests: first the many quick ones side by side, then the heavy ones one by one. Thread counts are pinned.
set -uo pipefail
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
py=.venv/bin/python
if [ "$#" -gt 0 ]; then exec "$py" -m pytest "$@"; fi
status=0
"$py" -m pytest -q -n 2 -m "not slow and not browser" || status=$?
"$py" -m pytest -q -m "slow or browser" || status=$?
exit "$status"

#!/usr/bin/env bash
# All tests: the many quick ones, the slow ones, those with a browser. Two at a time, with one thread each.
set -uo pipefail
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
py=.venv/bin/python
if [ "$#" -gt 0 ]; then exec "$py" -m pytest "$@"; fi
status=0
"$py" -m pytest -q -n 2 -m "not slow and not browser" || status=$?
"$py" -m pytest -q -n 2 --dist worksteal --durations=10 -m slow || status=$?
"$py" -m pytest -q -m "browser and not slow" || status=$?
exit "$status"

#!/usr/bin/env bash
# All tests: the many quick ones, the slow ones, those with a browser. Three at a time on two processors, with one thread
# each, for tests wait a fifth of their time and more; browsers two at a time, for each is many processes. Those that take
# longest begin first (tests/order.py). Last, one after the other, those that measure how long something takes.
#
# What fails beside other tests is asked once more, alone: a test that waits on a busy machine fails once, a fault fails
# twice. What passed only then is named at the end. More than five are not asked again: that is no accident.
set -uo pipefail
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
unset PYTHONDONTWRITEBYTECODE # hundreds of processes start, and each would compile radloop anew: half a second
py=.venv/bin/python
if [ "$#" -gt 0 ]; then exec "$py" -m pytest "$@"; fi
status=0
unstable=""

group() { # NAME MARKS FILES OPTIONS... ; only these files are read, for to read all takes each process half a minute
  local name=$1 marks=$2 cache=.pytest_cache/$1 first=0 failed files
  read -r -a files <<<"$3"
  shift 3
  rm -rf "$cache"
  "$py" -m pytest -q -o "cache_dir=$cache" -m "$marks" "$@" "${files[@]}" || first=$?
  if [ "$first" = 0 ]; then return; fi
  failed=$("$py" -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$cache/v/cache/lastfailed" 2>/dev/null)
  if [ "$first" != 1 ] || [ -z "$failed" ] || [ "$(wc -l <<<"$failed")" -gt 5 ]; then
    status=$first
    return
  fi
  echo "== once more, alone: $name"
  if "$py" -m pytest -q -o "cache_dir=$cache" -m "$marks" --last-failed "${files[@]}"; then
    unstable+="$failed"$'\n'
  else
    status=1
  fi
}

marked() { grep -rlE "mark\.$1\b" --include='*.py' tests | sort | tr '\n' ' '; }

group quick "not slow and not browser and not alone" tests -n 3
group slow "slow and not alone" "$(marked slow)" -n 3 --dist loadfile --durations=10
group browser "browser and not slow and not alone" "$(marked browser)" -n 2 --dist loadfile --durations=10
group alone alone "$(marked alone)"
if [ -n "$unstable" ]; then printf '== unstable, passed only alone; each is a fault to mend:\n%s' "$unstable"; fi
exit "$status"

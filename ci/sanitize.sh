#!/usr/bin/env bash
# memcheck and racecheck over the conformance suite on a GPU, case by case, each in a process of its own. What does not end in
# time has not passed.
#
#   ci/sanitize.sh [PROGRAM [TOOL…]]
#
# PROGRAM is the runtime's test program; without one it is built. CASES narrows the cases by a word, SECONDS_A_CASE is the limit.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v compute-sanitizer >/dev/null; then
    echo "skipped: compute-sanitizer is not installed; it comes with the CUDA toolkit"
    exit 0
fi
program=${1:-}
if [ -z "$program" ]; then
    program=$(cargo test -p runtime --lib --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*Executable.*(\(.*\)).*/\1/p')
fi
tools=("${@:2}")
[ ${#tools[@]} -gt 0 ] || tools=(memcheck racecheck)
limit=${SECONDS_A_CASE:-300}

mapfile -t cases < <("$program" --list "conformance::cuda::${CASES:-}" | sed -n 's/: test$//p')
if [ ${#cases[@]} -eq 0 ]; then
    echo "error: $program has no case of that name" >&2
    exit 2
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
for tool in "${tools[@]}"; do
    for case in "${cases[@]}"; do
        status=0
        timeout "$limit" compute-sanitizer --tool "$tool" --error-exitcode 99 \
            "$program" --exact "$case" --nocapture --test-threads 1 >"$log" 2>&1 || status=$?
        if grep -o -m 1 'skipped on cuda: .*' "$log"; then
            exit 0
        fi
        if [ $status -eq 0 ] && ! grep -q '1 passed' "$log"; then
            status=1
        fi
        case $status in
            0) echo "$tool $case: clean" ;;
            124) echo "$tool $case: not finished in $limit s" ;;
            *) echo "$tool $case: failed ($status)"; grep -E '=========|panicked' "$log" | head -20 || true ;;
        esac
        [ $status -eq 0 ] || failed=$((failed + 1))
    done
done
echo "$failed of $((${#tools[@]} * ${#cases[@]})) did not pass"
[ $failed -eq 0 ]

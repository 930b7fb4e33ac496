#!/usr/bin/env bash
# Runs a scenario, or one part of it, on this board: one job at a time, everything that is kept under OUT, and the exit code of the
# run at the end, which is also kept for ci/verdict.sh.
#
#   [SCENARIO=board] [SHARD=1/2] [OUT=out] bash ci/run.sh [ARGUMENT…]
#
# Arguments go to `sweep run`, for example --baseline FILE. Other settings: ci/settings.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/settings.sh
mkdir -p "$OUT"

run() {
    take_board
    need_program
    # What is left where this is killed: interrupted.
    echo 130 >"$OUT/exit_code"
    local arguments=(run "$SCENARIO" --output "$OUT/runs" ${machine[@]+"${machine[@]}"})
    [ "$SHARD" = 1/1 ] || arguments+=(--shard "$SHARD")
    # What a target says is data: a line of its own must not be a command to the runner.
    local token
    token=sweep-$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
    [ -z "${GITHUB_ACTIONS:-}" ] || echo "::stop-commands::$token"
    local code=0
    "$SWEEP" "${arguments[@]}" "$@" 8<&- || code=$?
    [ -z "${GITHUB_ACTIONS:-}" ] || echo "::$token::"
    finish "$code"
}

run "$@" 2>&1 | tee "$OUT/run.txt"

#!/usr/bin/env bash
# Random kills on a short scenario with a stand-in for a target: of the harness, of the target, of the guardian; Ctrl-C once and
# twice, SIGTERM; at any moment. After each, every record is read back, no finished trial may be gone or run again, and no process
# and no cgroup may be left.
#
#   ci/kills.sh [COUNT [SEED]]
#
# COUNT is 1,000 without a word; a seed deals the same blows again, as far as the machine lets moments be the same. SECONDS_AT_MOST
# ends it earlier, and it says how far it came.
set -euo pipefail
cd "$(dirname "$0")/.."

export SWEEP_KILLS=${1:-1000} SWEEP_SEED=${2:-1}
if [ -n "${SECONDS_AT_MOST:-}" ]; then
    export SWEEP_SECONDS=$SECONDS_AT_MOST
fi
cargo test -p harness --locked --test survival -- --ignored --exact random_kills_at_length --nocapture

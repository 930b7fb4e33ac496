# shellcheck shell=bash disable=SC2034
# Settings that the scripts for a board share, with their defaults, and what more than one of them does. Read by `.`, not run.

# The program: what ci/unpack.sh put there, else what was built here.
for built in bin/sweep target/release/sweep target/debug/sweep; do
    SWEEP=${SWEEP:-$([ ! -x "$built" ] || echo "$built")}
done
# A scenario file, or the name of one in scenarios/; which part of it (i/n); where everything goes that is kept.
SCENARIO=${SCENARIO:-board} SHARD=${SHARD:-1/1} OUT=${OUT:-out}
# What the board is called where its results stand beside those of others.
BOARD=${BOARD:-$(uname -m)}
# A folder to read the board's files from, instead of the board: for tests.
SWEEP_ROOT=${SWEEP_ROOT:-}
# One job at a time has the board: the file that says so, and how many seconds to wait for it.
LOCK=${LOCK:-/run/lock/sweep.lock} LOCK_WAIT=${LOCK_WAIT:-3600}

machine=()
[ -z "$SWEEP_ROOT" ] || machine=(--root "$SWEEP_ROOT")

# finish CODE: keeps the exit code for ci/verdict.sh, and ends with it.
finish() {
    echo "$1" >"$OUT/exit_code"
    exit "$1"
}

# The board is this script's until it ends. Programs that it starts are given no part of the lock (8>&-): what outlives
# a job must not hold the board.
take_board() {
    if [ ! -e "$LOCK" ] && ! (: >>"$LOCK") 2>/dev/null; then
        echo "error: $LOCK cannot be made; ci/setup-board.sh does it, or LOCK names another file" >&2
        finish 6
    fi
    exec 8<"$LOCK"
    if ! flock --wait "$LOCK_WAIT" 8; then
        echo "error: another job has had this board for $LOCK_WAIT s" >&2
        finish 6
    fi
}

need_program() {
    [ -n "$SWEEP" ] && return
    echo "error: there is no sweep: cargo build --release --bin sweep, or SWEEP names it" >&2
    finish 6
}

#!/usr/bin/env bash
# Instructions of a fixed prefill and decode on one thread, held against a snapshot: a regression of the CPU path that shared
# machines cannot hide, because no clock is read. callgrind knows instruction sets up to AVX2, so those kernels are counted.
#
#   ci/instructions.sh [--update]
#
# More than LIMIT (1) percent away from ci/instructions.snapshot fails, to either side: a gain is written down with --update. The
# compiler's version stands in the snapshot, because another compiler is another count.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind is not installed"
    exit 0
fi
snapshot=ci/instructions.snapshot
compiler=$(rustc --version)
bench=$(cargo bench -p runtime --bench cpu --no-run 2>&1 | tee -a /dev/stderr | sed -n 's/.*Executable.*(\(.*\)).*/\1/p')
engines=$(mktemp -d)
trap 'rm -rf "$engines"' EXIT
for checkpoint in dense-awq hybrid-awq; do
    cargo run --quiet --bin sweep -- build --checkpoint "fixtures/checkpoints/$checkpoint" --output "$engines/$checkpoint" >&2
done

# Instructions of a run over so many tokens.
instructions() {
    SWEEP_ENGINE="$engines/$1" SWEEP_THREADS=1 SWEEP_DEPTH=0 SWEEP_FIXED=$2 \
        valgrind --tool=callgrind --callgrind-out-file=/dev/null "$bench" 2>&1 | sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

# What 448 more tokens cost: the difference leaves out what a start does.
measured() {
    echo "compiler $compiler"
    for checkpoint in dense-awq hybrid-awq; do
        echo "$checkpoint $(($(instructions $checkpoint 512) - $(instructions $checkpoint 64)))"
    done
}

now=$(measured)
echo "$now"
if [ "${1:-}" = --update ]; then
    echo "$now" >"$snapshot"
    exit 0
fi
join <(grep -v '^compiler' "$snapshot" | sort) <(grep -v '^compiler' <<<"$now" | sort) | awk -v limit="${LIMIT:-1}" '
    {
        change = 100 * ($3 / $2 - 1)
        printf "%s: %+.2f %%\n", $1, change
        if (change > limit || change < -limit) bad = 1
    }
    END {exit bad}' || {
    grep -qxF "compiler $compiler" "$snapshot" || echo "the snapshot is of another $(head -n 1 "$snapshot")" >&2
    echo "error: more than ${LIMIT:-1} % from $snapshot; if that is meant, run ci/instructions.sh --update" >&2
    exit 1
}

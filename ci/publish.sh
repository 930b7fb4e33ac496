#!/usr/bin/env bash
# What a run on a board shows: the summary of the job (GITHUB_STEP_SUMMARY, where it is set), annotations, and one folder to keep:
#
#   OUT/exit_code, preflight.txt, doctor.json, nvmap.txt, run.txt   of preflight and run
#   OUT/runs/TIME/                                                   the run folder: records, series, report.html, junit.xml, ...
#   OUT/summary/summary.md, pull_request                             for the comment: small, and taken for untrusted there
#
#   [OUT=out] [PULL_REQUEST=number] bash ci/publish.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/settings.sh
# GitHub takes 1 MiB of all summaries of a step together, and 65,536 characters of a comment.
job_limit=1048576 comment_limit=60000
mkdir -p "$OUT/summary"

code=$(cat "$OUT/exit_code" 2>/dev/null || echo none)
run=$(find "$OUT/runs" -mindepth 2 -maxdepth 2 -name run.json 2>/dev/null | LC_ALL=C sort | tail -n 1 || true)
run=${run%/run.json}
# Again from the records, so that a run that was killed has a report, too.
if [ -n "$run" ] && [ -n "$SWEEP" ] && ! "$SWEEP" report "$run" >/dev/null; then
    echo "the report of $run could not be written" >&2
fi

part=", part $SHARD"
[ "$SHARD" != 1/1 ] || part=

# shorten BYTES: whole lines of standard input up to that size, and a word where something is missing.
shorten() {
    LC_ALL=C awk -v most="$1" '
        { size += length($0) + 1 }
        size > most - 64 { print "\n(shortened; the whole is in the artefacts)"; exit }
        { print }'
}

{
    echo "# $BOARD, $SCENARIO$part: exit code $code"
    echo
    if [ -n "$run" ] && [ -f "$run/summary.md" ]; then
        cat "$run/summary.md"
    else
        # Four blanks: nothing in it is markup.
        echo "There is no run. What came before:"
        echo
        cat "$OUT/preflight.txt" "$OUT/run.txt" 2>/dev/null | tail -n 60 | sed 's/^/    /' || true
    fi
} >"$OUT/summary/whole.md"
shorten "$comment_limit" <"$OUT/summary/whole.md" >"$OUT/summary/summary.md"
if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
    taken=$(stat -c %s "$GITHUB_STEP_SUMMARY" 2>/dev/null || echo 0)
    shorten $((job_limit - taken)) <"$OUT/summary/whole.md" >>"$GITHUB_STEP_SUMMARY"
fi
rm "$OUT/summary/whole.md"
[[ ! "${PULL_REQUEST:-}" =~ ^[0-9]+$ ]] || echo "$PULL_REQUEST" >"$OUT/summary/pull_request"

# GitHub shows ten annotations of a kind for a step. Line ends and the characters of its own syntax are encoded.
annotations='
    def text: gsub("%"; "%25") | gsub("\r"; "%0D") | gsub("\n"; "%0A");
    def property: text | gsub(":"; "%3A") | gsub(","; "%2C");
    [.cells[] | select(.word | IN("PASS", "NO BUDGET", "EXPECTED", "IMPROVED", "SKIPPED") | not)
        | .kind = if .word | IN("WARN", "INCONCLUSIVE", "INCOMPARABLE", "INTERRUPTED") then "warning" else "error" end]
    | group_by(.kind)[] | .[:10][]
    | "::\(.kind) title=\("\(.word) \(.label)" | property)::\(.reason // .word | text)"'
if [ -n "$run" ] && [ -f "$run/verdict.json" ]; then
    jq -r "$annotations" "$run/verdict.json"
elif [ "$code" != 0 ]; then
    echo "::error title=$BOARD::there is no run; see the step before"
fi
if [ -n "${GITHUB_OUTPUT:-}" ]; then
    echo "code=$code" >>"$GITHUB_OUTPUT"
fi

#!/usr/bin/env bash
# Ends with the exit code that preflight or run kept, after everything else was published. [OUT=out] bash ci/verdict.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/settings.sh
code=$(cat "$OUT/exit_code" 2>/dev/null || true)
if ! [[ "$code" =~ ^[0-9]{1,3}$ ]]; then
    echo "error: no step left an exit code in $OUT" >&2
    exit 70
fi
echo "exit code $code (docs/guide.md, \"Exit codes in CI\")"
exit "$code"

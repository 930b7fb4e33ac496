#!/usr/bin/env bash
# Holds a report against a real browser: no network, no console error, a table for every chart, from FAIL to the responsible
# buffer in three steps by keyboard, axe-core, and the page without scripts. Screenshots are left to be looked at.
#   bash ci/page.sh [REPORT.html] [FOLDER]
# Without a report, the sample run of the tests is drawn. Needs Chromium, Node 22 or 20, and npm for axe-core.
set -euo pipefail
cd "$(dirname "$0")/.."

browser="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}"
skip() { echo "page: skipped, $1"; exit 0; }
[ -n "$browser" ] || skip "there is no Chromium (set CHROMIUM to one)"
command -v node > /dev/null || skip "there is no Node"

out="${2:-target/page}"
mkdir -p "$out"
report="${1:-}"
if [ -z "$report" ]; then
    SWEEP_SAMPLE_REPORT="$PWD/$out/run" cargo test --quiet --locked -p harness --test report -- can_be_looked_at > /dev/null
    report="$out/run/report.html"
fi

axe="$out/node_modules/axe-core/axe.min.js"
if [ ! -f "$axe" ]; then
    npm install --silent --no-audit --no-fund --prefix "$out" axe-core@4 > /dev/null 2>&1 || true
fi
[ -f "$axe" ] || { echo "page: axe-core cannot be fetched, so accessibility is not checked"; axe=""; }

exec node ci/page.mjs "$browser" "$(realpath "$report")" "$(realpath "$out")" "$axe"

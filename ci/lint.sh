#!/usr/bin/env bash
# Scripts by shellcheck, workflows by actionlint. What is not installed is said, and not checked.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard 'ci/*.sh' .ci/run)
if command -v shellcheck >/dev/null; then
    shellcheck --external-sources "${scripts[@]}"
    echo "shellcheck: ${#scripts[@]} scripts"
else
    echo "shellcheck is not installed, so that scripts were not checked (apt-get install shellcheck)"
fi
actionlint=${ACTIONLINT:-$(command -v actionlint || true)}
if [ -n "$actionlint" ]; then
    "$actionlint"
    echo "actionlint: the workflows"
else
    echo "actionlint is not installed, so that workflows were not checked (go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12)"
fi

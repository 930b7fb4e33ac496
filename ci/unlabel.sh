#!/usr/bin/env bash
# Takes the label `board` from a pull request: it was given for commits that are not its last ones any more.
#   GH_TOKEN=… REPOSITORY=owner/name PULL_REQUEST=number bash ci/unlabel.sh
set -euo pipefail
: "${REPOSITORY:?}" "${PULL_REQUEST:?}"
gh api --method DELETE "repos/$REPOSITORY/issues/$PULL_REQUEST/labels/board" >/dev/null
echo "pull request $PULL_REQUEST needs the label again"

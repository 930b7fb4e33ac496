#!/bin/bash -p
# Whether this board takes a job. GitHub's runner asks before each one (ACTIONS_RUNNER_HOOK_JOB_STARTED): another exit code than 0, and
# nothing of the job is run. The workflow file of a pull request is the pull request's own, so that no condition in it protects a board; this
# file is the board's, installed by ci/setup-board.sh as /usr/local/lib/sweep/admit.sh and owned by root.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

case "${GITHUB_EVENT_NAME:-}" in
    # Only who may write to the repository causes these.
    push | schedule | workflow_dispatch) exit 0 ;;
    pull_request)
        # From the repository itself; or from a fork, by the event of giving the label, which a maintainer does for these very commits.
        if jq --exit-status '(.pull_request.head.repo.full_name != null and .pull_request.head.repo.full_name == .repository.full_name)
            or (.action == "labeled" and .label.name == "board")' "${GITHUB_EVENT_PATH:?}" >/dev/null; then
            exit 0
        fi
        echo "::error title=This board takes no job of a fork by itself::a maintainer gives the pull request the label board"
        ;;
    *) echo "::error title=This board takes no such job::the event is ${GITHUB_EVENT_NAME:-unknown}" ;;
esac
exit 6

#!/usr/bin/env bash
# Takes what boards measured into the branch `history`, and draws the page of trends from all of it.
#
#   bash ci/history.sh FOLDER      FOLDER has a folder board-BOARD-PART for each part of each board, as ci/publish.sh left it
#
# Parts of a board become one run (sweep merge). The branch has run folders alone, a folder for each board, without logs and without
# pages, which can be made again. PUSH=no commits without pushing; SWEEP names the program, which is built without a word.
set -euo pipefail
folder=$(realpath "$1")
cd "$(dirname "$0")/.."
work=target/history
branch=history

if [ -z "${SWEEP:-}" ]; then
    cargo build --quiet --locked --release --bin sweep
    SWEEP=${CARGO_TARGET_DIR:-target}/release/sweep
fi
sweep=$(realpath "$SWEEP")

git worktree remove --force "$work" 2>/dev/null || true
rm -rf "$work"
if git fetch --quiet origin "$branch" 2>/dev/null; then
    git worktree add --quiet -B "$branch" "$work" FETCH_HEAD
else
    git worktree add --quiet --detach "$work" HEAD
    git -C "$work" checkout --quiet --orphan "$branch"
    git -C "$work" rm -rfq .
fi

declare -A parts=()
for run in "$folder"/board-*/runs/*/run.json; do
    [ -e "$run" ] || continue
    run=${run%/run.json}
    board=$(basename "$(dirname "$(dirname "$run")")")
    board=${board#board-}
    parts[${board%-*}]+="$run"$'\n'
done
if [ ${#parts[@]} -eq 0 ]; then
    echo "error: no board left a run" >&2
    exit 5
fi
for board in "${!parts[@]}"; do
    mapfile -t runs <<<"${parts[$board]%$'\n'}"
    mkdir -p "$work/$board"
    if [ ${#runs[@]} -gt 1 ]; then
        "$sweep" merge "${runs[@]}" --output "$work/$board"
    else
        cp -r "${runs[0]}" "$work/$board/"
    fi
    find "$work/$board" \( -name report.html -o -name logs \) -prune -exec rm -rf {} +
done
git -C "$work" add --all
if ! git -C "$work" diff --cached --quiet; then
    git -C "$work" -c user.name=github-actions -c user.email=github-actions@users.noreply.github.com \
        commit --quiet -m "Runs of $(date -u +%F)"
    [ "${PUSH:-yes}" = no ] || git -C "$work" push --quiet origin "$branch"
fi
# Boards are other series: their environments differ.
mkdir "$work/.all"
for run in "$work"/*/*/; do
    ln -s "$(realpath "$run")" "$work/.all/$(basename "$(dirname "$run")")-$(basename "$run")"
done
"$sweep" history trend --output "$work/.all" --index "$work/.all/history.sqlite" --html="$work/history.html" >/dev/null
echo "$work/history.html"

#!/usr/bin/env bash
# Writes the summaries of boards as one comment of their pull request, and changes that comment the next time.
#
#   GH_TOKEN=… REPOSITORY=owner/name HEAD_SHA=… RUN_URL=… bash ci/comment.sh FOLDER
#
# FOLDER has a folder summary-BOARD-PART for each board, with summary.md and pull_request. They come from a job that ran code of the
# change, so that nothing in them is believed: sizes are limited, links and markup that is not a table are taken out, and the number must be that of an
# open pull request whose head is HEAD_SHA, which comes from GitHub's own event.
set -euo pipefail
folder=$1
most_bytes=65536 most_letters=60000
marker='<!-- sweep: what boards measured -->'

: "${REPOSITORY:?}" "${HEAD_SHA:?}" "${RUN_URL:?}"
body=$(mktemp)
trap 'rm -f "$body"' EXIT

# plain: text in which only tables, headings and folds are markup; nobody is called, and no link leads anywhere.
plain() {
    tr -d '\000-\010\013-\037' |
        sed -e 's/&lt;/</g; s/&gt;/>/g; s/</\&lt;/g' -e 's#&lt;\(/\{0,1\}\(details\|summary\)\)>#<\1>#g' \
            -e 's/@/@\&#8203;/g; s/\]/\\]/g; s#://#:\&\#8203;//#g; s/www\./www\&#8203;./g'
}

number=
for summary in "$folder"/summary-*; do
    if [ ! -d "$summary" ] || [ -L "$summary" ]; then continue; fi
    for file in "$summary/pull_request" "$summary/summary.md"; do
        if [ ! -f "$file" ] || [ -L "$file" ] || [ "$(stat -c %s "$file")" -gt "$most_bytes" ]; then
            echo "$(basename "$summary"): $(basename "$file") is missing, or too large; left out"
            continue 2
        fi
    done
    found=$(cat "$summary/pull_request")
    if ! [[ "$found" =~ ^[1-9][0-9]{0,8}$ ]]; then
        echo "$(basename "$summary"): pull_request is no number; left out"
        continue
    fi
    if [ -z "$number" ]; then
        state=$(gh api "repos/$REPOSITORY/pulls/$found" --jq '.state + " " + .head.sha')
        if [ "$state" != "open $HEAD_SHA" ]; then
            echo "pull request $found is not open at $HEAD_SHA; nothing is written"
            exit 0
        fi
        number=$found
    elif [ "$found" != "$number" ]; then
        echo "$(basename "$summary"): it names another pull request; left out"
        continue
    fi
    { plain <"$summary/summary.md"; echo; } >>"$body"
done
if [ -z "$number" ]; then
    echo "no summary of a pull request; nothing is written"
    exit 0
fi

text="$marker"$'\n'"$(head -c "$most_letters" "$body" | iconv -c -f UTF-8 -t UTF-8)"$'\n\n'"[Everything that was measured]($RUN_URL), at ${HEAD_SHA:0:12}."
comment=$(gh api --paginate "repos/$REPOSITORY/issues/$number/comments" \
    --jq ".[] | select(.user.login == \"github-actions[bot]\" and (.body | startswith(\"$marker\"))) | .id" | head -n 1)
if [ -n "$comment" ]; then
    jq -n --arg body "$text" '{body: $body}' | gh api --method PATCH "repos/$REPOSITORY/issues/comments/$comment" --input - >/dev/null
    echo "comment $comment of pull request $number is new"
else
    jq -n --arg body "$text" '{body: $body}' | gh api --method POST "repos/$REPOSITORY/issues/$number/comments" --input - >/dev/null
    echo "pull request $number has a comment"
fi

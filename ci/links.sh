#!/usr/bin/env bash
# Every relative link in a Markdown file must lead to a file or folder of this repository.
set -euo pipefail
cd "$(dirname "$0")/.."
dead=0
while IFS= read -r file; do
    while IFS= read -r target; do
        target="${target%%#*}"
        case "$target" in "" | http://* | https://* | mailto:*) continue ;; esac
        if [ ! -e "$(dirname "$file")/$target" ]; then
            echo "$file: dead link: $target" >&2
            dead=1
        fi
    done < <(grep -oE '\]\([^) ]+\)' "$file" | sed -E 's/^\]\(//; s/\)$//')
done < <(git ls-files '*.md')
exit "$dead"

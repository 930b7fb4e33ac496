#!/usr/bin/env bash
# Readers of what comes from outside, fed with anything: no panic, no hang, no memory without end. Runs by hand; it wants a nightly
# compiler and `cargo install cargo-fuzz`.
#
#   ci/fuzz.sh [SECONDS [TARGET…]]
#
# SECONDS for each target, 600 without a word; every target of fuzz/fuzz_targets without a name. What breaks one is kept in
# fuzz/artifacts, what was tried in fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
targets=("${@:2}")
if [ ${#targets[@]} -eq 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        targets+=("$(basename "$file" .rs)")
    done
fi

# A seed of each kind, from what the repository has: `seed TARGET NAME FILE…`, the files joined by the byte that divides parts.
seed() {
    local out="fuzz/corpus/$1/$2"
    mkdir -p "fuzz/corpus/$1"
    shift 2
    cat "$1" > "$out"
    for file in "${@:2}"; do
        printf '\xff' >> "$out"
        cat "$file" >> "$out"
    done
}
for file in scenarios/*.yaml; do
    seed scenario "$(basename "$file")" "$file"
done
for file in fixtures/logs/*; do
    seed logs "$(basename "$file")" "$file"
done
for file in fixtures/boards/*/tegrastats.txt; do
    board=$(basename "$(dirname "$file")")
    seed logs "$board.tegrastats" "$file"
    seed tegrastats "$board" <(head -n 1 "$file")
done
for folder in fixtures/checkpoints/*; do
    name=$(basename "$folder")
    seed config "$name" "$folder/config.json"
    if [ -f "$folder/model.safetensors" ]; then
        # The header alone, and some bytes of data: whole checkpoints are too long to be changed at random.
        length=$(od -An -t u8 -N 8 "$folder/model.safetensors" | tr -d ' ')
        seed safetensors "$name" <(head -c $((length + 8)) "$folder/model.safetensors")
        seed checkpoint "$name" "$folder/config.json" <(head -c $((length + 8)) "$folder/model.safetensors" | tail -c +9)
    fi
done
for run in fixtures/runs/*; do
    for record in "$run"/trials/*.json; do
        seed records "$(basename "$record")" "$run/run.json" "$record"
    done
done
mkdir -p fuzz/corpus/stream fuzz/corpus/manifest
printf '\x07data: {"choices":[{"text":"x","token_ids":[1]}],"usage":{"completion_tokens":2}}\n\ndata: [DONE]\n\n' > fuzz/corpus/stream/completion
printf '\x40data: {"choices":[{"delta":{"content":"x"}}],"timings":{"predicted_n":3}}\n\ndata: {"error":{"message":"no"}}\n\n' > fuzz/corpus/stream/chat
engine=$(mktemp -d)
trap 'rm -rf "$engine"' EXIT
for kind in dense hybrid; do
    cargo run --locked --quiet --bin sweep -- \
        build --checkpoint "fixtures/checkpoints/$kind-awq" --output "$engine/$kind" > /dev/null
    cp "$engine/$kind/manifest.json" "fuzz/corpus/manifest/$kind"
done

for target in "${targets[@]}"; do
    printf '\n== %s, %s s\n' "$target" "$seconds"
    cargo +nightly fuzz run "$target" -- \
        -max_total_time="$seconds" -max_len=131072 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1
done
printf '\n%s targets, %s s each: nothing was found\n' "${#targets[@]}" "$seconds"

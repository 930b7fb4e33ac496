#!/usr/bin/env bash
# The CPU runtime beside llama.cpp: decode, decode behind a long context, prefill and peak memory of the two 4B shapes. Both programs
# run in turns, A B B A, with the bandwidth of reading measured beside each; medians, minima and maxima are printed.
#
#   ci/compare_llama.sh LLAMA_BENCH QWEN3_GGUF[,GGUF…] QWEN35_GGUF[,GGUF…]
#
# Builds nothing but this repository. Several files of one model, for example Q4_0 and Q4_K_M, are tried each, with and without
# repacking at run time; a row is held against the setting that is best in it. Before each run the script waits for a quiet second, PATIENCE
# (120) seconds at most. A run during which other processes took more than FOREIGN (10) percent of a core is made again, up to
# RETRIES (5) times, and then left out.
#
# ROUNDS (2) and DEEP_ROUNDS (1) say how often A B B A is gone through, 0 for not at all; DEPTH (3968) the long context; THREADS (all)
# the threads of both; REPACK ("1 0") llama.cpp's settings; MODELS ("Qwen3-4B Qwen3.5-4B") what is compared; ENGINES (engines)
# where built engines are kept; VALUES a file that keeps each value.
set -euo pipefail
[ $# -eq 3 ] || { sed -n '2,17s/^# \{0,1\}//p' "$0" >&2; exit 2; }
llama_bench=$(realpath "$1")
declare -A files=([Qwen3-4B]=$2 [Qwen3.5-4B]=$3)
values=${VALUES:-$(mktemp)}
values=$(realpath "$values")
for list in "$2" "$3"; do
    for file in ${list//,/ }; do
        [ -r "$file" ] || { echo "error: cannot read $file" >&2; exit 2; }
    done
done
here=$(pwd)
cd "$(dirname "$0")/.."
depth=${DEPTH:-3968} threads=${THREADS:-$(nproc)} foreign_limit=${FOREIGN:-10} retries=${RETRIES:-5}
engines=${ENGINES:-engines}
output=$(mktemp)
trap 'rm -f "$output"' EXIT

bench=$(cargo bench -p runtime --bench cpu --no-run 2>&1 | tee -a /dev/stderr | sed -n 's/.*Executable.*(\(.*\)).*/\1/p')

# The engine directory of a model and a table, built where it is not there yet.
engine() {
    local directory="$engines/compare-${1,,}-$2"
    if [ ! -e "$directory/manifest.json" ]; then
        cargo run --quiet --bin sweep -- build --synthetic "$1" --lm-head "$2" --output "$directory" >&2
    fi
    echo "$directory"
}

# Hundredths of seconds that all processes have run.
busy() { awk '/^cpu /{print $2 + $3 + $4 + $7 + $8}' /proc/stat; }

# Waits until other processes leave the machine alone.
await_quiet() {
    local second before
    for ((second = 0; second < ${PATIENCE:-120}; second++)); do
        before=$(busy)
        sleep 1
        [ $(($(busy) - before)) -gt "$foreign_limit" ] || return 0
    done
}

# Runs a command until nothing else took its processor; its output goes to $output, its peak resident memory to $peak.
quietly() {
    local try before after own start foreign status
    for ((try = 0; try <= retries; try++)); do
        await_quiet
        before=$(busy) start=$(date +%s%N) peak=0
        "$@" >"$output" 2>/dev/null &
        local child=$!
        own=0
        while status=$(cat /proc/$child/status /proc/$child/stat 2>/dev/null) && [ -n "$status" ]; do
            read -r own peak < <(awk -v own="$own" -v peak="$peak" '
                /^VmHWM/{peak = $2} /^[0-9]+ \(/{sub(/^.*\) /, ""); own = $12 + $13} END{print own, peak}' <<<"$status")
            case "$status" in *"State:"*"Z (zombie)"*) break ;; esac
            sleep 0.2
        done
        wait $child || { echo "error: $* failed" >&2; exit 1; }
        after=$(busy)
        foreign=$(awk -v all=$((after - before)) -v own="$own" -v ns=$(($(date +%s%N) - start)) \
            'BEGIN{printf "%d", 100 * (all - own) / (ns / 1e7)}')
        [ "$foreign" -gt "$foreign_limit" ] || return 0
        echo "  other processes took $foreign % of a core" >&2
    done
    return 1
}

# record MODEL ROW WHO VALUE
record() { printf '%s\t%s\t%s\t%s\n' "$@" | tee -a "$values" >&2; }

# What reading alone gets now.
calibrate() {
    record "$1" "read GB/s" "beside $2" "$(SWEEP_BANDWIDTH=1 SWEEP_THREADS=$threads "$bench" | awk '{print $2}')"
}

# ours MODEL DEEP
ours() {
    local table
    for table in int8 int4; do
        calibrate "$1" sweep
        quietly env SWEEP_ENGINE="${engine_of[$1 $table]}" SWEEP_THREADS="$threads" SWEEP_TURNS=1 \
            SWEEP_DEPTH=$(($2 ? depth : 0)) SWEEP_SHORT=$((!$2)) "$bench" || continue
        while read -r name value; do
            case "$name" in
                decode) record "$1" "decode" "$table table" "$value" ;;
                decode_share_%) record "$1" "decode, % of reading" "$table table" "$value" ;;
                decode_at_"$depth") record "$1" "decode at $depth" "$table table" "$value" ;;
                decode_at_"$depth"_share_%) record "$1" "decode at $depth, % of reading" "$table table" "$value" ;;
                prefill_512) record "$1" "prefill 512" "$table table" "$value" ;;
                peak_resident_MiB) if [ "$2" -eq 1 ]; then record "$1" "peak MiB" "$table table" "$value"; fi ;;
            esac
        done <"$output"
    done
}

# theirs MODEL DEEP
theirs() {
    local file repack tests
    for file in ${files[$1]//,/ }; do
        for repack in ${REPACK:-1 0}; do
            local who
            who="llama.cpp $(basename "$file" .gguf), repack $repack"
            tests=(-p 512 -n 64)
            if [ "$2" -eq 1 ]; then tests=(-p 0 -n 64 -d "$depth"); fi
            calibrate "$1" llama.cpp
            quietly "$llama_bench" -m "$(cd "$here" && realpath "$file")" -t "$threads" --repack "$repack" -r 1 -o jsonl \
                "${tests[@]}" || continue
            while read -r prompt speed; do
                if [ "$2" -eq 1 ]; then
                    record "$1" "decode at $depth" "$who" "$speed"
                    record "$1" "peak MiB" "$who" "$(awk -v kib="$peak" 'BEGIN{printf "%.1f", kib / 1024}')"
                elif [ "$prompt" -gt 0 ]; then
                    record "$1" "prefill 512" "$who" "$speed"
                else
                    record "$1" "decode" "$who" "$speed"
                fi
            done < <(sed -n 's/.*"n_prompt": \([0-9]*\),.*"avg_ts": \([0-9.]*\),.*/\1 \2/p' "$output")
        done
    done
}

declare -A engine_of
models=${MODELS:-Qwen3-4B Qwen3.5-4B}
for model in $models; do
    for table in int8 int4; do engine_of[$model $table]=$(engine "$model" "$table"); done
done
: >>"$values"
for model in $models; do
    for deep in 0 1; do
        rounds=$((deep ? ${DEEP_ROUNDS:-1} : ${ROUNDS:-2}))
        for ((round = 0; round < rounds; round++)); do
            ours "$model" $deep
            theirs "$model" $deep
            theirs "$model" $deep
            ours "$model" $deep
        done
    done
done

# Medians with minima and maxima, and each of ours against the best of theirs.
sort -t $'\t' -k1,3 -k4,4g "$values" | awk -F '\t' '
    function close_group() {
        if (n == 0) return
        median = n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        k = ++groups; model[k] = m; row[k] = r; who[k] = w; mid[k] = median; low[k] = v[1]; high[k] = v[n]; count[k] = n
        less = r == "peak MiB"
        if (w ~ /^llama/ && (!((m, r) in best) || (less ? median < best[m, r] : median > best[m, r]))) best[m, r] = median
        n = 0
    }
    { if ($1 != m || $2 != r || $3 != w) close_group(); m = $1; r = $2; w = $3; v[++n] = $4 }
    END {
        close_group()
        print "| model | row | setting | median | min | max | runs | to the best of llama.cpp |"
        print "| --- | --- | --- | --- | --- | --- | --- | --- |"
        for (k = 1; k <= groups; k++) {
            ratio = (model[k], row[k]) in best ? sprintf("%.2f", mid[k] / best[model[k], row[k]]) : ""
            printf "| %s | %s | %s | %.4g | %.4g | %.4g | %d | %s |\n", model[k], row[k], who[k], mid[k], low[k], high[k], count[k], ratio
        }
    }'

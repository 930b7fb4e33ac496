#!/usr/bin/env bash
# Whether this board can be measured now: what the scenario needs, power mode, clocks, temperature, and the floor, that is free
# memory and what earlier processes left. Exit code 0, or 6 with what is in the way; the code is kept for ci/verdict.sh.
#
#   [SCENARIO=board] [OUT=out] bash ci/preflight.sh
#
# Waits until the hottest zone is below COOL_BELOW (60) degrees, COOL_WAIT (600) seconds at most. MIN_AVAILABLE (60) percent of
# the memory must be available, and nobody may hold HOLDER_MIB (64) of GPU memory. ALLOW names what is let pass, for example
# ALLOW="clocks, residue". What cannot be measured is not let pass by itself. Other settings: ci/settings.sh.
# shellcheck disable=SC2016 # variables in quotes are jq's
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/settings.sh
mkdir -p "$OUT"
doctor=$OUT/doctor.json
refused=0

# check SUBJECT WHAT-IS-WRONG: refuses where there is something, unless it is let pass.
check() {
    if [ -z "$2" ]; then
        echo "fine     $1"
    elif [[ ", ${ALLOW:-}, " == *", $1, "* ]]; then
        echo "allowed  $1: $2"
    else
        echo "REFUSED  $1: $2"
        refused=1
    fi
}

# The machine, as the doctor sees it. `$1` names the folder whose disk is timed.
examine() {
    "$SWEEP" doctor "$SCENARIO" --json --disk "$1" ${machine[@]+"${machine[@]}"} >"$doctor" 8<&- || [ $? -eq 6 ]
}

# ask [OPTIONS] FILTER: what the doctor says, in words.
ask() { jq -r "$@" "$doctor"; }

# The hottest zone in thousandths of a degree; nothing where none can be read.
hottest() { ask '[.temperatures.measured // [] | .[].millidegrees.measured // empty] | max // empty'; }

cool_down() {
    local waited=0 degrees
    while degrees=$(hottest) && [ -n "$degrees" ] && [ "$degrees" -ge $((${COOL_BELOW:-60} * 1000)) ]; do
        if [ "$waited" -ge "${COOL_WAIT:-600}" ]; then
            echo "$((degrees / 1000)) °C after $waited s, and not below ${COOL_BELOW:-60}"
            return
        fi
        sleep 5
        waited=$((waited + 5))
        # A folder in memory: the disk has been timed.
        examine /dev/shm
    done
    [ -n "$degrees" ] || echo "no zone can be read"
}

preflight() {
    take_board
    need_program
    if [ -z "$SWEEP_ROOT" ] && [ -x /usr/local/sbin/sweep-board ]; then
        sudo -n /usr/local/sbin/sweep-board drop-caches || echo "caches were not dropped"
        sudo -n /usr/local/sbin/sweep-board nvmap | cat >"$OUT/nvmap.txt" || echo "nvmap was not shown"
    else
        echo "no helper here (ci/setup-board.sh): caches are as they were"
    fi
    if ! examine "${ENGINES:-engines}"; then
        echo "error: sweep doctor failed" >&2
        finish 70
    fi
    ask '"\(.board.model.measured // "a board that does not say what it is"), " +
        "Jetson Linux \(.board.l4t.measured // "n/a"), kernel \(.board.kernel.measured // "n/a")"'

    check needs "$(ask '[.needs[] | select(.met | not) | "\(.need): \(.says)"] | join("; ")')"
    check "power mode" "$(ask '[.findings[] | select(.subject == "power mode") | "\(.says) (\(.remedy))"] | join("; ")')"
    check clocks "$(ask 'if .clocks.locked.measured == true then "" else
        .clocks.locked.unavailable // "they follow the load (sudo jetson_clocks)" end')"
    check temperature "$(cool_down)"
    check memory "$(ask --argjson least "${MIN_AVAILABLE:-60}" '.memory |
        if (.available_bytes.measured and .total_bytes.measured | not) then "it is not known"
        elif .available_bytes.measured * 100 >= .total_bytes.measured * $least then ""
        else "\(.available_bytes.measured * 100 / .total_bytes.measured | floor) % are available, not \($least)" end')"
    check residue "$(ask --argjson most "${HOLDER_MIB:-64}" '.residue |
        [(.targets | .unavailable // (.measured[] | "a runtime of an earlier run, process \(.pid)")),
         (.gpu_holders.measured // [] | .[] | select(.bytes >= $most * 1048576)
            | "\(.process) (\(.pid)) holds \(.bytes / 1048576 | floor) MiB of GPU memory")] | join("; ")')"
    ask '.findings[] | select(.subject | IN("power mode", "clocks", "temperature", "residue") | not) | "doubt    \(.subject): \(.says)"'
    [ "$refused" -eq 0 ] || finish 6
    finish 0
}

preflight 2>&1 | tee "$OUT/preflight.txt"

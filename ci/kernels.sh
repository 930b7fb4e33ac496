#!/usr/bin/env bash
# Compiles every GPU kernel with the NVRTC of CUDA 12.6 and 13.0 for Orin and Hopper, and holds registers, shared memory and local
# memory of each against ci/kernels.snapshot. No GPU is needed; the compilers are Python wheels, kept under target/nvrtc.
#   bash ci/kernels.sh            more registers or shared memory than in the snapshot fail, and so does any local memory
#   bash ci/kernels.sh --accept   writes the snapshot anew
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/nvrtc.sh

snapshot=ci/kernels.snapshot
architectures=sm_87,sm_90
cubins=$nvrtc/cubins
accept=no
case "${1:-}" in
    "") ;;
    --accept) accept=yes ;;
    *)
        echo "usage: bash ci/kernels.sh [--accept]" >&2
        exit 2
        ;;
esac

# measure: what each kernel takes, one line a kernel, architecture and compiler.
measure() {
    local version
    for version in 12.6 13.0; do
        "$sweep" kernels build --arch "$architectures" --out "$cubins" --nvrtc "$(nvrtc_library "$version")" >/dev/null
    done
    "$sweep" kernels list --dir "$cubins" |
        awk 'NR > 1 { print $2 "/" $1, $3, "nvrtc" $4, "registers", $5, "shared", $6, "local", $7 }' | LC_ALL=C sort
}

if ! fetch_both_nvrtcs; then
    echo "skipped: the wheels of NVRTC cannot be fetched (they need python3 with pip, and a package index)"
    [ "$accept" = no ]
    exit
fi

cargo build --quiet --locked --bin sweep
sweep=${CARGO_TARGET_DIR:-target}/debug/sweep
rm -rf "$cubins" "$nvrtc/cache"
measured=$nvrtc/measured
measure >"$measured"

if spills=$(grep -v ' local 0$' "$measured"); then
    printf '%s\n' "$spills" >&2
    echo "error: these kernels use local memory: registers are spilled, or an array is indexed at run time." >&2
    echo "hint: fewer values at once, constant indices in unrolled loops, or looser __launch_bounds__" >&2
    exit 1
fi

if [ "$accept" = yes ]; then
    {
        echo "# What each kernel takes, by GPU and compiler; ci/kernels.sh holds it, ci/kernels.sh --accept writes it."
        cat "$measured"
    } >"$snapshot"
    echo "$snapshot: $(wc -l <"$measured") lines"
    exit
fi

awk '
    /^#/ { next }
    { key = $1 " " $2 " " $3 }
    FILENAME == ARGV[1] { registers[key] = $5; shared[key] = $7; next }
    { seen[key] = 1 }
    !(key in registers) { print "new:     " $0; failed = 1; next }
    $5 > registers[key] || $7 > shared[key] {
        print "grown:   " key ": registers " registers[key] " -> " $5 ", shared " shared[key] " -> " $7
        failed = 1
        next
    }
    $5 < registers[key] || $7 < shared[key] {
        print "shrunk:  " key ": registers " registers[key] " -> " $5 ", shared " shared[key] " -> " $7
        renew = 1
    }
    END {
        for (key in registers) if (!(key in seen)) { print "gone:    " key; renew = 1 }
        if (failed) { print "error: if that is meant, `bash ci/kernels.sh --accept` takes it into the snapshot"; exit 1 }
        if (renew) print "please renew the snapshot: bash ci/kernels.sh --accept"
    }
' "$snapshot" "$measured"
echo "$(wc -l <"$measured") lines hold: no local memory, no growth"

# What a process that serves does: find nothing, start the program, find cubins.
SWEEP_PROGRAM=$(realpath "$sweep") SWEEP_NVRTC=$(realpath "$(nvrtc_library 12.6)") SWEEP_KERNELS='' XDG_CACHE_HOME=$(realpath "$nvrtc")/cache \
    cargo test --quiet --locked -p runtime --lib a_real_child_compiles_every_kernel -- --ignored >/dev/null
rm -rf "$nvrtc/cache"
echo "a child compiles what is missing"

#!/usr/bin/env bash
# The tests on aarch64. On such a machine all of them; elsewhere as many as emulation does in minutes, built by a cross compiler
# and run on an emulated Cortex-A76, which has the vector instructions of Orin's A78AE: dot products, no i8mm, no SVE.
#
#   ci/aarch64.sh [RUSTC]
#
# RUSTC (or the variable of that name) is a compiler with the standard libraries of this machine and of aarch64; AARCH64_CPU is
# the processor that is emulated. A warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -m)" = aarch64 ]; then
    cargo test --locked --workspace
    exit
fi

target=aarch64-unknown-linux-gnu
export RUSTC=${1:-${RUSTC:-$(rustup which rustc 2>/dev/null || command -v rustc)}}
libraries=$("$RUSTC" --print target-libdir --target $target)
missing=()
compgen -G "$libraries/libstd-*.rlib" >/dev/null || missing+=("the standard library of $target for $RUSTC")
command -v aarch64-linux-gnu-gcc >/dev/null || missing+=("aarch64-linux-gnu-gcc")
emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || missing+=("qemu-aarch64")
if [ ${#missing[@]} -gt 0 ]; then
    printf 'skipped, missing: %s\n' "${missing[@]}"
    cat <<'HELP'
On Debian or Ubuntu:  apt-get install gcc-aarch64-linux-gnu qemu-user-static
The library:          rustup target add aarch64-unknown-linux-gnu
or, without rustup's server, Debian's compiler, unpacked and not installed, because it conflicts with other ones:
    dpkg --add-architecture arm64 && apt-get update
    apt-get download rustc-web libstd-rust-web-1.96 libstd-rust-web-dev libstd-rust-web-dev:arm64 libllvm22
    for package in *.deb; do dpkg -x "$package" FOLDER; done
RUSTC is then a script that runs FOLDER/usr/bin/rustc with LD_LIBRARY_PATH=FOLDER/usr/lib/x86_64-linux-gnu.
HELP
    exit 0
fi
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# Address space of a fixed size: without it QEMU 7 keeps account of every page that was ever mapped, gigabytes in all.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$emulator -R 64G -cpu ${AARCH64_CPU:-cortex-a76} -L /usr/aarch64-linux-gnu"
export RUSTFLAGS="-D warnings"

# Left out. Emulated floating point is too slow for the suite's largest attentions and for its streamed model in rounds: the
# operator's own tests run the same kernels on smaller shapes, and the model runs streamed without rounds. And where a program is
# missing, emulated processes start all the same and fail a moment later.
left_out=(
    conformance::cpu::attention_of_64 conformance::cpu::attention_of_128 conformance::cpu::attention_of_256
    conformance::cpu::attention_of_a_long_context conformance::cpu::model_in_rounds_streamed
    what_a_child_says_is_in_the_error
)
# What is about the machine or starts programs stays out: /proc is the host's, and a child would be a program that the host
# cannot run (builtin, command_line, fit, import, kernels), or is traced and stopped (trials, sweeps, sampler_allocation).
harness=(boards fake_proc levers scenario_errors scenario_files scenario_levers verdict)

step() { printf '\n== %s\n' "$1"; }

# Without examples in the documentation: they would need the same compiler's rustdoc.
step "ledger"
cargo test --quiet --locked --target $target -p ledger --tests

step "runtime: operators, plan, memory, engines, and the conformance suite on the CPU"
cargo test --quiet --locked --target $target -p runtime --lib -- "${left_out[@]/#/--skip=}"

step "harness: ${harness[*]}"
cargo test --quiet --locked --target $target -p harness "${harness[@]/#/--test=}"

step "everything else compiles"
cargo test --quiet --locked --target $target --workspace --tests --no-run

echo
echo "aarch64: what was run has passed"

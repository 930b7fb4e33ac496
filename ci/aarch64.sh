#!/usr/bin/env bash
# The tests on aarch64. On such a machine all of them; elsewhere as many as emulation does in minutes, built by a cross compiler
# and run on an emulated Cortex-A76, which has the vector instructions of Orin's A78AE: dot products, no i8mm, no SVE.
#
#   ci/aarch64.sh [--install] [RUSTC]
#
# RUSTC (or the variable of that name) is a compiler with the standard libraries of this machine and of aarch64; AARCH64_CPU is
# the processor that is emulated. With --install, what is missing of cross compiler, emulator and library is installed first, as
# root or by sudo. A warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -m)" = aarch64 ]; then
    cargo test --locked --workspace
    exit
fi

target=aarch64-unknown-linux-gnu
tools=$PWD/target/aarch64-tools

has_library() { compgen -G "$("$1" --print target-libdir --target $target)/libstd-*.rlib" >/dev/null; }
find_emulator() { command -v qemu-aarch64-static || command -v qemu-aarch64; }

# What is missing, from Debian's or Ubuntu's packages; the library from rustup's server, or else with Debian's compiler, which is
# unpacked and not installed, because it conflicts with other ones.
install_tools() {
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    command -v aarch64-linux-gnu-gcc >/dev/null || "${as_root[@]}" apt-get install -y -qq gcc-aarch64-linux-gnu
    find_emulator >/dev/null || "${as_root[@]}" apt-get install -y -qq qemu-user-static
    if has_library "$RUSTC" || rustup target add $target; then return; fi
    "${as_root[@]}" dpkg --add-architecture arm64
    "${as_root[@]}" apt-get update -qq
    mkdir -p "$tools/packages"
    # The compiler's own libraries have versions in their names.
    mapfile -t needed < <(apt-cache depends --recurse --important rustc-web |
        sed -n 's/^\(libstd-rust-web-[0-9.]*\|libllvm[0-9]*\)$/\1/p' | sort -u)
    (cd "$tools/packages" && apt-get download -qq rustc-web libstd-rust-web-dev libstd-rust-web-dev:arm64 "${needed[@]}")
    for package in "$tools"/packages/*.deb; do
        dpkg -x "$package" "$tools"
    done
    rm -r "$tools/packages"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%q exec %q "$@"\n' "$tools/usr/lib/x86_64-linux-gnu" "$tools/usr/bin/rustc" >"$tools/rustc"
    chmod +x "$tools/rustc"
    use_own_compiler
}
use_own_compiler() { [ ! -x "$tools/rustc" ] || export RUSTC=$tools/rustc; }

install=
if [ "${1:-}" = --install ]; then
    install=1
    shift
fi
export RUSTC=${1:-${RUSTC:-$(rustup which rustc 2>/dev/null || command -v rustc)}}
has_library "$RUSTC" || use_own_compiler
[ -z "$install" ] || install_tools
missing=()
has_library "$RUSTC" || missing+=("the standard library of $target for $RUSTC")
command -v aarch64-linux-gnu-gcc >/dev/null || missing+=("aarch64-linux-gnu-gcc")
emulator=$(find_emulator) || missing+=("qemu-aarch64")
if [ ${#missing[@]} -gt 0 ]; then
    printf 'nothing was tested, missing: %s\n' "${missing[@]}" >&2
    echo "ci/aarch64.sh --install gets them from the packages of Debian or Ubuntu" >&2
    exit 1
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

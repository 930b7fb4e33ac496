#!/usr/bin/env bash
# The tarball of a release, in dist/: program, kernels, scenarios with their models, documents, licences and bill of materials, with
# SHA256SUMS beside it. The same commit, built by the same compilers in the same folder, gives the same bytes.
#
#   ci/release.sh [TARGET]
#
# TARGET is this machine's without a word. For another one the linker of CARGO_TARGET_…_LINKER, or of aarch64 a cross compiler, must
# be there, and the standard library (see ci/aarch64.sh). Kernels are compiled by a program that runs here, with NVRTC from a package index
# or from SWEEP_NVRTC; without it the tarball has none, and a board compiles them at its first use.
set -euo pipefail
cd "$(dirname "$0")/.."
. ci/nvrtc.sh

rustc=${RUSTC:-rustc}
host=$("$rustc" -vV | sed -n 's/^host: //p')
target=${1:-$host}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=sweep-$version-$target
folder=target/release-folder/$name
# Every file in it is the commit's, and so is every date.
commit=$(git rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH
if [ -n "$(git status --porcelain)" ]; then
    echo "warning: there are changes that are in no commit; the program is built with them" >&2
fi

if [ "$target" = aarch64-unknown-linux-gnu ] && [ "$target" != "$host" ]; then
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=${CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER:-aarch64-linux-gnu-gcc}
fi
# No folder of this machine is in the program.
export CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_STRIP=symbols
export RUSTFLAGS="--remap-path-prefix=$PWD=sweep --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
export CFLAGS="-ffile-prefix-map=$PWD=sweep -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=cargo"
cargo build --release --locked --bin sweep --target "$target"

rm -rf "$folder"
mkdir -p "$folder" dist
install -m 755 "${CARGO_TARGET_DIR:-target}/$target/release/sweep" "$folder/sweep"
# With what scenarios and the lock refer to: `sweep` runs in the folder as it does in the repository.
git archive "$commit" scenarios engines.lock fixtures/trained docs README.md CHANGELOG.md LICENSE | tar -x -C "$folder"
python3 ci/materials.py "$target" "$folder"

runs_here=$folder/sweep
if [ "$target" != "$host" ]; then
    runs_here=
    for built in target/release/sweep target/debug/sweep; do
        [ -n "$runs_here" ] || [ ! -x "$built" ] || runs_here=$built
    done
fi
if [ -z "$runs_here" ]; then
    echo "no kernels: they are compiled by a program that runs here (cargo build --bin sweep)"
elif [ -n "${SWEEP_NVRTC:-}" ]; then
    "$runs_here" kernels build --arch sm_87 --out "$folder/kernels" >/dev/null
elif fetch_both_nvrtcs; then
    for compiler in 12.6 13.0; do
        "$runs_here" kernels build --arch sm_87 --out "$folder/kernels" --nvrtc "$(nvrtc_library $compiler)" >/dev/null
    done
else
    echo "no kernels: NVRTC cannot be fetched, and SWEEP_NVRTC names none"
fi

tar -c --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w --format=posix \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime -C "$(dirname "$folder")" "$name" |
    gzip -9 --no-name >"dist/$name.tar.gz"
(cd dist && rm -f SHA256SUMS && sha256sum sweep-*.tar.gz >SHA256SUMS)
grep -F "$name" dist/SHA256SUMS

#!/usr/bin/env bash
# Everything that a change must pass, in the order in which a mistake is cheapest to find.
# Runs by hand, too: bash ci/check.sh
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$1"; }

step "format"
cargo fmt --all --check

step "scripts and workflows (as far as their linters are here)"
bash ci/lint.sh

step "lock of the fuzz targets"
cargo update --quiet --workspace --locked --manifest-path fuzz/Cargo.toml

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "tests (the README's command)"
cargo test --locked

step "kernels (skipped where NVRTC cannot be fetched)"
bash ci/kernels.sh

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

step "links in the documents"
bash ci/links.sh

echo
echo "all checks passed"

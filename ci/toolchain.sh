#!/usr/bin/env bash
# The compiler that Cargo.toml asks for, by rustup, with what ci/check.sh needs. Where there is no rustup, cargo is taken as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if command -v rustup >/dev/null; then
    rustup toolchain install "$version" --profile minimal --component clippy,rustfmt --no-self-update
    rustup default "$version"
fi
cargo --version

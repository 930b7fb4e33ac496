#!/usr/bin/env bash
# Puts what is in a tarball of ci/release.sh into bin/, where the other scripts find the program: a board does not compile.
#   bash ci/unpack.sh [FOLDER]     the folder with one tarball and its SHA256SUMS; without a word, dist
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-dist}
(cd "$folder" && sha256sum --check --quiet SHA256SUMS)
tarballs=("$folder"/sweep-*.tar.gz)
if [ ${#tarballs[@]} -ne 1 ] || [ ! -f "${tarballs[0]}" ]; then
    echo "error: $folder has not exactly one tarball of sweep" >&2
    exit 6
fi
rm -rf bin
mkdir bin
tar -xzf "${tarballs[0]}" --strip-components=1 -C bin
bin/sweep --version

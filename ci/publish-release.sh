#!/usr/bin/env bash
# Makes a release of a tag from what ci/release.sh made for each architecture, after checking every sum.
#   GH_TOKEN=… REPOSITORY=owner/name TAG=v1.2.3 bash ci/publish-release.sh FOLDER
set -euo pipefail
: "${REPOSITORY:?}" "${TAG:?}"
folder=$(realpath "$1")
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
if [ "$TAG" != "v$version" ]; then
    echo "error: the tag is $TAG, and Cargo.toml says $version" >&2
    exit 2
fi
cd "$folder"
for dist in */; do
    (cd "$dist" && sha256sum --check --quiet SHA256SUMS)
done
cat ./*/SHA256SUMS | LC_ALL=C sort -k 2 >SHA256SUMS
gh release create "$TAG" --repo "$REPOSITORY" --verify-tag --title "sweep $version" --generate-notes ./*/sweep-*.tar.gz SHA256SUMS

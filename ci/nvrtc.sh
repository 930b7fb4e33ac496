# shellcheck shell=bash
# NVRTC, CUDA's run-time compiler, as Python wheels under target/nvrtc. Read by `.`, not run.
nvrtc=target/nvrtc

# fetch_nvrtc VERSION PACKAGE: puts it into $nvrtc/VERSION, once.
fetch_nvrtc() {
    local folder=$nvrtc/$1
    [ -e "$folder/done" ] && return
    rm -rf "$folder"
    mkdir -p "$folder"
    python3 -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 20 --no-deps --dest "$folder" \
        "$2==$1.*" || return
    python3 -m zipfile -e "$folder"/*.whl "$folder" || return
    rm -f "$folder"/*.whl
    touch "$folder/done"
}

# The two versions that kernels are compiled with: what they make runs under the drivers of JetPack 6 and 7.
fetch_both_nvrtcs() {
    fetch_nvrtc 12.6 nvidia-cuda-nvrtc-cu12 && fetch_nvrtc 13.0 nvidia-cuda-nvrtc
}

# nvrtc_library VERSION: its file.
nvrtc_library() {
    find "$nvrtc/$1" -name 'libnvrtc.so.*' | sort | head -n 1
}

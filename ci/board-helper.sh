#!/bin/bash -p
# The only thing that the user of a board's runner may do as root: show what nvmap holds, and drop caches. ci/setup-board.sh
# installs it as /usr/local/sbin/sweep-board, owned by root, and allows its two verbs, word for word, in sudoers.
# No argument is a path, a number or a part of a command; nothing is read from the environment or from standard input.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
nvmap=/sys/kernel/debug/nvmap

verb=${1:-}
[ $# -le 1 ] || verb=
case "$verb" in
    nvmap)
        [ -d "$nvmap" ] || { echo "sweep-board: there is no $nvmap: not a Jetson, or debugfs is not mounted" >&2; exit 6; }
        for file in stats/total_memory iovmm/clients iovmm/allocations pagepool/page_pool_available_pages; do
            [ -r "$nvmap/$file" ] || continue
            echo "== $file"
            head -c 4194304 "$nvmap/$file"
        done
        ;;
    drop-caches)
        sync
        echo 3 >/proc/sys/vm/drop_caches
        echo 1 >/proc/sys/vm/compact_memory
        ;;
    *)
        echo "usage: sweep-board nvmap | drop-caches" >&2
        exit 2
        ;;
esac

#!/usr/bin/env bash
# Prepares a board for measuring by a self-hosted runner: a user without rights of its own, one audited helper, units that
# survive a board without memory, and a board in the same state after every start. Prints what would change; --yes changes it.
# What is there already is left alone, so that a second run finds nothing to do.
#
#   sudo bash ci/setup-board.sh [--dry-run | --yes] [--headless]
#
# --headless also starts the board without a desktop, which frees its GPU memory. ROOT=DIR works on a copy of a root file system
# instead of this one, for an image or a test: files are written, and nothing is started.
# Run it again once the runner is installed (./svc.sh install sweep): its unit gets its limits then.
set -euo pipefail
cd "$(dirname "$0")/.."

root=${ROOT:-}
act=no headless=no
for argument in "$@"; do
    case "$argument" in
        --dry-run) act=no ;;
        --yes) act=yes ;;
        --headless) headless=yes ;;
        *)
            sed -n '6p' "$0" | cut -c5- >&2
            exit 2
            ;;
    esac
done
if [ "$act" = yes ] && [ -z "$root" ] && [ "$(id -u)" -ne 0 ]; then
    echo "error: without ROOT, --yes changes this board and must be run as root" >&2
    exit 6
fi

user=sweep
home=/var/lib/sweep
helper=/usr/local/sbin/sweep-board
admission=/usr/local/lib/sweep/admit.sh
changes=0
staged=$(mktemp)
trap 'rm -f "$staged"' EXIT

# differs PATH MODE: whether what is there is not what is staged.
differs() {
    ! cmp -s "$staged" "$root$1" || [ "$(stat -c %a "$root$1")" != "$2" ]
}

# file PATH MODE WHY: a file with the content of standard input.
file() {
    cat >"$staged"
    place "$@"
}

# place PATH MODE WHY: what is staged becomes the file, where it is not already.
place() {
    differs "$1" "$2" || return 0
    changes=$((changes + 1))
    echo "$1 ($2): $3"
    before=/dev/null
    [ ! -e "$root$1" ] || before=$root$1
    diff -u "$before" "$staged" | sed -n '4,$s/^/    /p' || true
    [ "$act" = yes ] || return 0
    mkdir -p "$(dirname "$root$1")"
    if [ -z "$root" ]; then
        install -o root -g root -m "$2" "$staged" "$1"
    else
        install -m "$2" "$staged" "$root$1"
    fi
}

# link PATH TARGET WHY: a symbolic link.
link() {
    [ "$(readlink "$root$1" 2>/dev/null || true)" != "$2" ] || return 0
    changes=$((changes + 1))
    echo "$1 -> $2: $3"
    [ "$act" = yes ] || return 0
    mkdir -p "$(dirname "$root$1")"
    ln -sfn "$2" "$root$1"
}

# no_link PATH WHY: no symbolic link is there.
no_link() {
    [ -L "$root$1" ] || return 0
    changes=$((changes + 1))
    echo "$1 goes away: $2"
    [ "$act" = no ] || rm "$root$1"
}

# sudoers PATH WHY: one with a mistake locks everybody out, so that visudo reads it before it is put in place.
sudoers() {
    cat >"$staged"
    differs "$1" 440 || return 0
    if ! command -v visudo >/dev/null; then
        echo "visudo is not here, so that $1 cannot be checked: apt-get install sudo" >&2
        [ "$act" = no ] || exit 6
    elif ! visudo -cqf "$staged"; then
        echo "error: visudo refuses what was to become $1; nothing of it was installed" >&2
        exit 70
    fi
    place "$1" 440 "$2"
}

file /etc/sysusers.d/sweep.conf 644 "a user for the runner, without a password and without sudo" <<TEXT
u $user - "measures memory" $home /bin/bash
TEXT
if [ "$act" = yes ] && [ -z "$root" ] && ! id "$user" >/dev/null 2>&1; then
    systemd-sysusers /etc/sysusers.d/sweep.conf
fi

file /etc/tmpfiles.d/sweep.conf 644 "its folder, and the lock by which one job at a time has the board" <<TEXT
d $home 0755 $user $user -
f /run/lock/sweep.lock 0644 root root -
TEXT

file "$helper" 755 "shows nvmap and drops caches, by two fixed verbs" <ci/board-helper.sh
file "$admission" 755 "refuses jobs of forks that no maintainer has labelled, whatever their workflow says" <ci/admit.sh

sudoers /etc/sudoers.d/sweep "$user may run the two verbs of the helper as root, and nothing else" <<TEXT
# Written by ci/setup-board.sh. The arguments are part of the rule: no others are allowed.
Defaults!$helper env_reset, secure_path="/usr/sbin:/usr/bin:/sbin:/bin"
$user ALL=(root) NOPASSWD: $helper nvmap, $helper drop-caches
TEXT

# debugfs stays closed to everybody else. The kernel takes a number for the group, which exists once the user does.
group=$(awk -F: -v name="$user" '$1 == name { print $3 }' "$root/etc/group" 2>/dev/null || true)
if [ -n "$group" ]; then
    file /etc/systemd/system/sys-kernel-debug.mount.d/sweep.conf 644 "the group $user may look into debugfs, where nvmap is" <<TEXT
[Mount]
Options=nosuid,nodev,noexec,mode=0750,gid=$group
TEXT
else
    echo "later: debugfs is opened to the group $user once the user exists; run this again"
fi

# A target that takes all memory must neither end the runner nor be spared for it: the runner is the last to be killed, the kill of a
# child does not end the unit, and the unit has less than the board. sweep raises the score of its targets to the highest.
units=0
for unit in "$root"/etc/systemd/system/actions.runner.*.service; do
    [ -e "$unit" ] || continue
    units=$((units + 1))
    file "/etc/systemd/system/$(basename "$unit").d/sweep.conf" 644 "the runner asks before each job, and survives a board without memory" <<TEXT
[Service]
Environment=ACTIONS_RUNNER_HOOK_JOB_STARTED=$admission
OOMPolicy=continue
OOMScoreAdjust=-900
MemoryMax=94%
MemorySwapMax=0
TEXT
done
[ "$units" -gt 0 ] || echo "later: no unit actions.runner.*.service is there; install the runner, then run this again"

if [ -e "$root/usr/bin/jetson_clocks" ]; then
    file /etc/systemd/system/sweep-clocks.service 644 "clocks stand still after every start; the power mode is yours to choose, before" <<TEXT
[Unit]
Description=Clocks that do not follow the load
After=nvpmodel.service

[Service]
Type=oneshot
ExecStart=/usr/bin/jetson_clocks

[Install]
WantedBy=multi-user.target
TEXT
    link /etc/systemd/system/multi-user.target.wants/sweep-clocks.service /etc/systemd/system/sweep-clocks.service \
        "at every start"
fi
no_link /etc/systemd/system/multi-user.target.wants/nvzramconfig.service \
    "no compressed swap: what is swapped out is missing from resident memory (back again: systemctl enable nvzramconfig)"
if [ "$headless" = yes ]; then
    link /etc/systemd/system/default.target /lib/systemd/system/multi-user.target "no desktop: it holds GPU memory"
fi

missing=()
for program in jq flock git tar; do
    command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] || echo "yours to do: these programs are missing: ${missing[*]} (apt-get install jq util-linux git tar)"

if [ "$changes" -eq 0 ]; then
    echo "nothing to change"
elif [ "$act" = no ]; then
    echo "$changes changes; nothing was written. With --yes they are made."
else
    echo "$changes changes made"
    if [ -z "$root" ]; then
        systemd-tmpfiles --create /etc/tmpfiles.d/sweep.conf
        systemctl daemon-reload
        echo "units take effect at the next start of the board"
    fi
fi

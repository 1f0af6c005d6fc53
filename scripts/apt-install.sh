#!/usr/bin/env bash
# Installs Debian packages, as root, and leaves no service of theirs running: the project starts
# its own PostgreSQL and Redis. What was installed or running before is not touched.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

((EUID == 0)) || die "apt-install.sh must run as root"

undo=()
cleanup() { ((${#undo[@]} == 0)) || rm -f "${undo[@]}"; }
trap cleanup EXIT

# Debian's own switch for "install, but start nothing".
if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    undo+=(/usr/sbin/policy-rc.d)
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
# No "main" cluster, which would start at the next boot.
no_cluster=/etc/postgresql-common/createcluster.d/discussions.conf
if [[ " $* " == *" postgresql "* ]]; then
    undo+=("$no_cluster")
    mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' >"$no_cluster"
fi

say "looking up Debian's packages"
apt-get update -qq </dev/null || warn "apt-get update failed; trying with the lists that are there"
packages=()
for package; do
    # npm would bring the same old nodejs along.
    if [[ $package == nodejs || ($package == npm && " $* " == *" nodejs "*) ]] && (($(apt_node_major) < 20)); then
        warn "$package is not installed: Debian's Node.js here is too old or not to be had"
    else
        packages+=("$package")
    fi
done
((${#packages[@]})) || exit 0

say "installing ${packages[*]}"
log=$(mktemp)
undo+=("$log")
install() { DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"; }
if ! install "${packages[@]}" >"$log" 2>&1 </dev/null; then
    # One that cannot be had must not keep the others away.
    for package in "${packages[@]}"; do
        install "$package" >"$log" 2>&1 </dev/null || { tail -n 5 "$log" >&2; warn "could not install $package"; }
    done
fi

# policy-rc.d holds until now only: what is enabled would start at the next boot.
if [[ -d /run/systemd/system && " ${packages[*]} " == *" redis-server "* ]]; then
    systemctl disable --quiet redis-server || true
fi
if [[ -d /run/systemd/system && " ${packages[*]} " == *" haproxy "* ]]; then
    systemctl disable --quiet haproxy || true
fi

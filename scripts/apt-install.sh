#!/usr/bin/env bash
# Installs Debian packages, as root. It starts none of their services, because the project starts its
# own PostgreSQL and Redis. It does not touch what was installed or running before.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

((EUID == 0)) || die "apt-install.sh must run as root"

undo=()
cleanup() { ((${#undo[@]} == 0)) || rm -f "${undo[@]}"; }
trap cleanup EXIT

# Debian's way to install packages without starting their services.
if [[ ! -e /usr/sbin/policy-rc.d ]]; then
    undo+=(/usr/sbin/policy-rc.d)
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
fi
# Do not create the cluster "main", which would start at the next boot.
no_cluster=/etc/postgresql-common/createcluster.d/discussions.conf
if [[ " $* " == *" postgresql "* ]]; then
    undo+=("$no_cluster")
    mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' >"$no_cluster"
fi

say "updating the lists of packages"
apt-get update -qq </dev/null || warn "apt-get update failed; trying with the lists that are there"
packages=()
for package; do
    # npm would install the same old nodejs.
    if [[ $package == nodejs || ($package == npm && " $* " == *" nodejs "*) ]] && (($(apt_node_major) < 20)); then
        warn "$package is not installed: Debian's Node.js is too old or not available here"
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
    # Install them one by one, so that a package that is not available does not prevent the others.
    for package in "${packages[@]}"; do
        install "$package" >"$log" 2>&1 </dev/null || { tail -n 5 "$log" >&2; warn "could not install $package"; }
    done
fi

# policy-rc.d has an effect only during the installation. Disable the services, or they start at the next boot.
if [[ -d /run/systemd/system && " ${packages[*]} " == *" redis-server "* ]]; then
    systemctl disable --quiet redis-server || true
fi
if [[ -d /run/systemd/system && " ${packages[*]} " == *" haproxy "* ]]; then
    systemctl disable --quiet haproxy || true
fi
if [[ -d /run/systemd/system && " ${packages[*]} " == *" prometheus "* ]]; then
    systemctl disable --quiet prometheus prometheus-node-exporter || true
fi

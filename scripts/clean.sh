#!/usr/bin/env bash
# `make clean`: removes all build output, and the private databases with their data.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

exec 9>>.data/run.lock 2>/dev/null && { flock -n 9 || die "make run is running in this checkout: stop it first"; }
shopt -s nullglob
for location in .data/*/location .data/test/*/*/location; do rm -rf -- "$(<"$location")"; done
rm -rf .data target frontend-client/node_modules frontend-client/demo/out frontend-client/demo/.next

#!/usr/bin/env bash
# `npm ci` in frontend-client, only where the lockfile or Node changed since the last one: it begins
# by deleting everything.
set -euo pipefail
cd "$(dirname "$0")/../frontend-client"

want=$(cat package-lock.json - <<<"$(node --version)" | sha256sum)
stamp=node_modules/.installed-from
[[ -f $stamp && $(<"$stamp") == "$want" ]] && exit 0
npm ci --no-audit --no-fund </dev/null
echo "$want" >"$stamp"

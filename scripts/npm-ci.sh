#!/usr/bin/env bash
# Runs `npm ci` in frontend-client if the lockfile or Node changed since the last time. `npm ci` is slow,
# because it first deletes everything.
set -euo pipefail
cd "$(dirname "$0")/../frontend-client"

want=$(cat package-lock.json - <<<"$(node --version)" | sha256sum)
stamp=node_modules/.installed-from
[[ -f $stamp && $(<"$stamp") == "$want" ]] && exit 0
npm ci --no-audit --no-fund </dev/null
echo "$want" >"$stamp"

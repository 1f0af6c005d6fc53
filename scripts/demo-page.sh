#!/usr/bin/env bash
# Builds the demo page into frontend-client/demo/out, unless its sources are the same as at the last build.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

[[ -f frontend-client/package.json ]] || die "there is no frontend-client here: no demo page"
command -v npm >/dev/null || die "npm was not found: no demo page"

want=$(tree_hash frontend-client)
stamp=.data/demo-page.hash
[[ -f frontend-client/demo/out/index.html && -f $stamp && $(<"$stamp") == "$want" ]] && exit 0

say "building the demo page"
scripts/npm-ci.sh
# Without this variable `next build` sends telemetry.
(cd frontend-client && NEXT_TELEMETRY_DISABLED=1 npm run --silent build:demo </dev/null)
mkdir -p .data
tree_hash frontend-client >"$stamp"

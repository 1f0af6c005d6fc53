#!/usr/bin/env bash
# openapi/openapi.json, the committed document that the client is generated from.
#
#   openapi.sh write     make it anew, then the generated client
#   openapi.sh check     fail if it differs from what the server says
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

action=${1:-}
[[ $action == write || $action == check ]] || die "usage: scripts/openapi.sh write|check"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
cargo build --locked --bin discussions
"$(cargo_target_dir)/debug/discussions" openapi >"$new"

if [[ $action == check ]]; then
    diff -u openapi/openapi.json "$new" >&2 ||
        die "openapi/openapi.json is not what the server says (differences above). Run: make openapi, and commit it"
else
    mkdir -p openapi
    cat "$new" >openapi/openapi.json
    [[ ! -f frontend-client/package.json ]] || { scripts/npm-ci.sh && cd frontend-client && npm run --silent generate; }
fi

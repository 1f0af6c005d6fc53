#!/usr/bin/env bash
# Handles openapi/openapi.json, the committed document from which the client is generated.
#
#   openapi.sh write     writes the document and then the generated client
#   openapi.sh check     fails if the document differs from the server's
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

action=${1:-}
[[ $action == write || $action == check ]] || die "usage: scripts/openapi.sh write|check"
new=$(mktemp)
trap 'rm -f "$new"' EXIT
"${BUILD_PROGRAMS[@]}"
"$(cargo_target_dir)/debug/discussions" openapi >"$new"

if [[ $action == check ]]; then
    diff -u openapi/openapi.json "$new" >&2 ||
        die "openapi/openapi.json differs from the server's document (see above). Run: make openapi, and commit it"
else
    mkdir -p openapi
    cat "$new" >openapi/openapi.json
    [[ ! -f frontend-client/package.json ]] || { scripts/npm-ci.sh && cd frontend-client && npm run --silent generate; }
fi

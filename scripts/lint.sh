#!/usr/bin/env bash
# `make lint`: checks everything that can be checked without running the program. Tools that are not part of the Rust toolchain
# are built once, into .data/tools. They are built without optimisation and debug information, since they run only briefly.
#
#   lint.sh [STAGE]...     rust, docs, dependencies or client; by default all
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$ROOT"

# tool NAME VERSION: builds a tool. The versions are fixed, so that a new lint of a tool does not break the build.
tool() {
    local name=$1 version=$2
    [[ $("$ROOT/.data/tools/bin/$name" --version 2>/dev/null) == *"$version"* ]] ||
        env -u RUSTFLAGS CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$ROOT/.data/tools" --version "$version" "$name" ||
        die "$name $version could not be built"
}

rust() {
    cargo fmt --all --check
    cargo clippy --quiet --locked --workspace --all-targets -- -D warnings
    # As the Docker image is built.
    cargo clippy --quiet --locked --no-default-features --lib --bins -- -D warnings
}

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --workspace --no-deps --document-private-items; }

dependencies() {
    tool cargo-machete 0.9.2
    "$ROOT/.data/tools/bin/cargo-machete" .
    tool cargo-deny 0.20.2
    "$ROOT/.data/tools/bin/cargo-deny" --log-level error check --hide-inclusion-graph licenses bans sources
    # The database of advisories is a download, which may not be possible here.
    if ! "$ROOT/.data/tools/bin/cargo-deny" --log-level error fetch db 2>/dev/null; then
        warn "the database of advisories cannot be reached: not checked"
    else
        "$ROOT/.data/tools/bin/cargo-deny" --log-level error check advisories
    fi
}

client() {
    scripts/npm-ci.sh
    (cd frontend-client && npm run --silent lint)
}

stages=("$@")
((${#stages[@]})) || stages=(rust docs dependencies client)
for stage in "${stages[@]}"; do "$stage"; done

# shellcheck shell=bash
# Functions that the scripts share: messages, ports, files. Source it, do not run it.

# shellcheck disable=SC2034 # used by those who source this
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Makes the calling script end together with the `make` that started it, even after `kill -9` of make.
# exec keeps $$, so the variable marks this process and none of its children.
end_with_make() {
    [[ -n ${MAKELEVEL:-} && ${ENDS_WITH_MAKE:-} != "$$" ]] || return 0
    ENDS_WITH_MAKE=$$ exec setpriv --pdeathsig TERM "$BASH" "$0" "$@"
}

# Reads the NAME=VALUE lines of a file into the environment. Variables that are already set stay.
load_env_file() {
    local line
    [[ -f $1 ]] || return 0
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $line =~ ^[[:space:]]*([A-Z_][A-Z0-9_]*)=(.*)$ ]] || continue
        [[ -v ${BASH_REMATCH[1]} ]] || export "${BASH_REMATCH[1]}=${BASH_REMATCH[2]}"
    done <"$1"
}

# port_taken HOST PORT: true if a program listens there. Uses only bash, since a bare machine may lack other tools.
port_taken() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

# Prints a free port. It is below the range of outgoing connections, so that none of them takes it first.
free_port() {
    local port
    for _ in {1..100}; do
        port=$((20000 + RANDOM % 12000))
        port_taken 127.0.0.1 "$port" || { echo "$port"; return; }
    done
    die "found no free port between 20000 and 32000 on 127.0.0.1"
}

# http_status HOST PORT PATH: prints the status code of a GET, or nothing. Works without curl.
http_status() {
    local line=""
    { exec 3<>"/dev/tcp/$1/$2"; } 2>/dev/null || return 0
    printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$3" "$1" >&3
    IFS= read -r -t 5 line <&3 || true
    exec 3>&-
    line=${line#* }
    echo "${line%% *}"
}

# Prints the major version of Node.js that apt would install, or 0. Debian 12 has 18, and the client needs 20.
apt_node_major() {
    local version
    version=$(LC_ALL=C apt-cache policy nodejs 2>/dev/null | sed -n 's/^ *Candidate: \(.*:\)\{0,1\}\([0-9]*\)\..*/\2/p')
    echo "${version:-0}"
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }

# Prints one hash of the names and contents of all files under the given paths, without the files that tools generate.
tree_hash() {
    find "$@" \( -name node_modules -o -name .next -o -name out -o -name dist -o -name test-results -o -name '*.tsbuildinfo' \
        -o -name next-env.d.ts \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1
}

# Builds every program but the fuzzer. Of the whole workspace at once, because the dependencies of one program alone have fewer
# features, and cargo would compile them all again.
# shellcheck disable=SC2034 # used by the scripts that include this one
BUILD_PROGRAMS=(cargo build --locked --workspace --exclude discussions-fuzz --bins)

# Prints the folder of cargo's build output, which the environment or a configuration may set.
cargo_target_dir() {
    cargo metadata --format-version 1 --no-deps --offline 2>/dev/null |
        grep -o '"target_directory":"[^"]*"' | cut -d'"' -f4
}

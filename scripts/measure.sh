# shellcheck shell=bash
# What `make bench` and `make abuse` have in common: a folder of their own, the release build, and none of the developer's settings.
# Source it after lib.sh and services.sh.

# begin_measurement NAME PACKAGE...: builds the release of PACKAGEs and sets `work`, a folder below .data/NAME. It is removed at the
# end, or kept without its database if the script fails.
begin_measurement() {
    local name=$1 packages=()
    shift
    for package in "$@"; do packages+=(-p "$package"); done
    work=$ROOT/.data/$name/$$
    trap end_measurement EXIT
    trap 'exit 130' INT TERM HUP
    command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
    ulimit -n "$(ulimit -Hn)" || true
    mkdir -p "$work"
    chmod 755 .data ".data/$name" "$work" # for the account that PostgreSQL runs under
    # What is measured must not depend on the developer's settings.
    unset DATABASE_URL REDIS_URL BIND_ADDR METRICS_ADDR STATIC_DIR DEMO TRUSTED_PROXIES
    unset JWT_PUBLIC_KEY JWT_ALGORITHM JWT_AUDIENCE JWT_ISSUER
    say "building the release"
    run_child cargo build --release --locked --bins "${packages[@]}" || die "the release did not build"
}

end_measurement() {
    local status=$?
    trap '' INT TERM HUP
    stop_all
    [[ ! -f $work/postgres/location ]] || rm -rf -- "$(<"$work/postgres/location")"
    if ((status == 0)); then rm -rf -- "$work"; else say "the logs are in $work"; rm -rf -- "$work/postgres/data"; fi
    exit "$status"
}

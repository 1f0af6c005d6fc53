#!/usr/bin/env bash
# Installs the Debian packages that a command needs and that are missing. packages.txt lists them.
#
#   setup.sh LEVEL...        a level is run, test-rust, test-client, bench or ci
#
# If it may not install packages, it says what to install, and fails only if a required package is
# missing. If nothing is missing, it does not call the package manager.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

# Functions that packages.txt uses as tests.
have_postgres() { [[ -n ${DATABASE_URL:-} ]] || compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }
have_redis() { [[ -n ${REDIS_URL:-} ]] || command -v redis-server; }
have_nchan() { compgen -G '/usr/lib/nginx/modules/ngx_nchan_module.so'; }
have_chromium() { [[ -x ${CHROMIUM_PATH:-/usr/bin/chromium} ]]; }
have_venv() { python3 -c 'import venv, ensurepip'; }
have_node() {
    local version
    version=$(node --version 2>/dev/null) && version=${version#v} && ((${version%%.*} >= 20))
}

trim() { local text=$*; read -r text <<<"$text" || true; echo "$text"; }

# Prints "package must purpose" for each line of packages.txt that is for a wanted level and whose test fails.
missing() {
    local levels test package must why level
    while IFS='|' read -r levels test package must why; do
        [[ $levels != \#* && -n $levels ]] || continue
        for level in "${wanted[@]}"; do
            [[ " $levels " == *" $level "* ]] || continue
            eval "$test" &>/dev/null || echo "$(trim "$package") $(trim "$must") $(trim "$why")"
            break
        done
    done <scripts/packages.txt
}

wanted=("$@")
((${#wanted[@]})) || die "usage: scripts/setup.sh run|test-rust|test-client|bench|ci ..."

command -v cargo >/dev/null || [[ ! -x $HOME/.cargo/bin/cargo ]] || PATH=$HOME/.cargo/bin:$PATH
command -v cargo >/dev/null || die "cargo was not found: install the Rust toolchain (rustup.rs), then open a new shell"

PATH=$PATH:/usr/sbin # some packages have their programs there
mapfile -t lacks < <(missing)
((${#lacks[@]})) || exit 0

mapfile -t packages < <(printf '%s\n' "${lacks[@]}" | cut -d' ' -f1 | sort -u)
node=$(apt_node_major)
if ((node > 0 && node < 20)) && [[ -z $(printf '%s\n' "${packages[@]}" | grep -vxE 'nodejs|npm') ]]; then
    : # apt has no newer Node.js: do not ask the package servers at every start
elif ! command -v apt-get >/dev/null; then
    warn "this system is not Debian, so nothing is installed automatically"
elif ((EUID == 0)); then
    scripts/apt-install.sh "${packages[@]}" || warn "not everything could be installed"
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$PWD/scripts/apt-install.sh" "${packages[@]}" || warn "not everything could be installed"
fi

mapfile -t lacks < <(missing)
((${#lacks[@]})) || exit 0
failed=0 from_apt=""
for line in "${lacks[@]}"; do
    read -r package must why <<<"$line"
    if [[ $package == nodejs ]]; then why="$why; Node.js 20 or newer, here: $(node --version 2>/dev/null || echo none)"; fi
    if [[ $must == required ]]; then
        failed=1
        printf 'error: missing: %s (%s)\n' "$package" "$why" >&2
    else
        warn "missing: $package ($why); continuing without it"
    fi
    if [[ $package == nodejs || $package == npm ]] && ((node < 20)); then
        echo "  Debian's package is too old or not available: get Node.js with npm from nodejs.org" >&2
    else
        from_apt+=" $package"
    fi
done
[[ -z $from_apt ]] || echo "Install with:  sudo apt-get install$from_apt" >&2
exit "$failed"

# shellcheck shell=bash
# Under which account a private service runs, and where that account can keep its files.

# PostgreSQL refuses to run as root, and a Redis that does would write files as root for anyone who
# can reach its port. So as root: PREFERRED if there is such an account, else nobody.
service_account() {
    if ((EUID != 0)); then
        id -un
    elif id "$1" &>/dev/null; then
        echo "$1"
    else
        echo nobody
    fi
}

# Fills the array AS with the words to put before a command to run it under ACCOUNT.
become() {
    AS=()
    ((EUID != 0)) || AS=(setpriv "--reuid=$1" "--regid=$(id -g "$1")" --init-groups --reset-env --)
}

# data_dir DIR ACCOUNT: prints the folder for ACCOUNT's files that belong to DIR. It is DIR/data,
# or, where ACCOUNT cannot reach DIR (a checkout under /root), one in /var/tmp named in DIR/location.
data_dir() {
    local dir=$1 account=$2 data=$1/data
    become "$account"
    if ! (cd / && "${AS[@]}" test -x "$dir"); then
        data=/var/tmp/discussions-$(printf %s "$dir" | sha256sum | cut -c1-16)
    fi
    rmdir "$data" 2>/dev/null || true # an empty one may be of an account that was chosen before
    if [[ ! -e $data ]]; then
        mkdir -m 700 "$data"
        ((EUID != 0)) || chown "$account:" "$data"
        if [[ $data != "$dir/data" ]]; then
            say "the account $account cannot reach $dir: its files are in $data"
            echo "$data" >"$dir/location"
        fi
    fi
    # /var/tmp is open to all: somebody else's folder of that name must not be used.
    [[ ! -L $data && $(stat -c %U "$data") == "$account" ]] ||
        die "$data belongs to $(stat -c %U "$data"), but the service would run as $account.
  Was this checkout used by another account? Run as that one, or remove $data (its data is lost)."
    echo "$data"
}

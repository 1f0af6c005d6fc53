# shellcheck shell=bash
# Chooses the account for a private service, and a folder that this account can write.

# service_account PREFERRED: prints the account to run as. PostgreSQL refuses to run as root, and a Redis
# that runs as root would write files as root for anyone who can reach its port. So for root it is
# PREFERRED if that account exists, else nobody.
service_account() {
    if ((EUID != 0)); then
        id -un
    elif id "$1" &>/dev/null; then
        echo "$1"
    else
        echo nobody
    fi
}

# become ACCOUNT: fills the array AS with the words that, before a command, run it under ACCOUNT.
become() {
    AS=()
    ((EUID != 0)) || AS=(setpriv "--reuid=$1" "--regid=$(id -g "$1")" --init-groups --reset-env --)
}

# data_dir DIR ACCOUNT: prints the folder for ACCOUNT's files of DIR. It is DIR/data. If ACCOUNT cannot
# reach DIR (such as a checkout under /root), it is a folder in /var/tmp, whose path is in DIR/location.
data_dir() {
    local dir=$1 account=$2 data=$1/data
    become "$account"
    if ! (cd / && "${AS[@]}" test -x "$dir"); then
        data=/var/tmp/discussions-$(printf %s "$dir" | sha256sum | cut -c1-16)
    fi
    rmdir "$data" 2>/dev/null || true # an empty folder may belong to an account of an earlier run
    if [[ ! -e $data ]]; then
        mkdir -m 700 "$data"
        ((EUID != 0)) || chown "$account:" "$data"
        if [[ $data != "$dir/data" ]]; then
            say "the account $account cannot reach $dir: its files are in $data"
            echo "$data" >"$dir/location"
        fi
    fi
    # Anyone can write to /var/tmp, so refuse a folder of that name that belongs to another account.
    [[ ! -L $data && $(stat -c %U "$data") == "$account" ]] ||
        die "$data belongs to $(stat -c %U "$data"), but the service would run as $account.
  Was this checkout used by another account? Run as that one, or remove $data (its data is lost)."
    echo "$data"
}

# shellcheck shell=bash
# One event to N parked polls, each polling again: this server, pollbench's floor, and nginx with nchan where it is.

find_pollbench() {
    local source=${POLLBENCH:-$ROOT/../shared/pollbench}
    POLLBENCH_BIN=""
    if [[ -x $source && -f $source ]]; then
        POLLBENCH_BIN=$source
    elif [[ -f $source/Cargo.toml ]]; then
        # Not in its own folder, which may not be ours to write in.
        run_child cargo build --release --quiet --manifest-path "$source/Cargo.toml" --target-dir "$ROOT/.data/pollbench" ||
            die "pollbench did not build"
        POLLBENCH_BIN=$ROOT/.data/pollbench/release/pollbench
    else
        warn "no pollbench at $source: measuring by the project's own load test, with nothing to compare"
    fi
    NGINX_BIN=${NGINX_BINARY:-$(PATH=$PATH:/usr/sbin command -v nginx || true)}
    NCHAN_MODULE=${NCHAN_MODULE:-/usr/lib/nginx/modules/ngx_nchan_module.so}
    [[ -x $NGINX_BIN && -f $NCHAN_MODULE ]] || NGINX_BIN=""
}

measure_fanout() {
    local round polls
    if [[ -z $POLLBENCH_BIN ]]; then
        own_fanout
        return
    fi
    for ((round = 1; round <= REPEATS; round++)); do
        for polls in "${POLLS[@]}"; do
            say "fan-out to $polls polls, round $round of $REPEATS"
            fan_out floor "$polls" ""
            fan_out ours "$polls" ""
            [[ -z $NGINX_BIN ]] || fan_out nchan "$polls" ""
        done
        polls=${POLLS[-1]}
        say "fan-out to $polls polls with a browser's headers, round $round of $REPEATS"
        fan_out floor "$polls" browser
        fan_out ours "$polls" browser
    done
}

# fan_out TARGET POLLS [browser]: one run, recorded under TARGET.POLLS[browser].WHAT
fan_out() {
    local target=$1 polls=$2 kind=$3 out=$work/pollbench.json key arguments
    key=$target.$polls$kind
    "fan_out_$target"
    [[ -z $kind ]] || arguments+=(--browser-headers)
    "$POLLBENCH_BIN" run "${arguments[@]}" -n "$polls" --rounds 10 --quiet --json "$out" >>"$work/pollbench.log" ||
        die "pollbench failed; see $work/pollbench.log"
    stop_one "${SERVER_PID:-$PEER_PID}"
    SERVER_PID="" PEER_PID=""
    record "$key.cpu" "$(json "$out" cpu_us_per_delivery)"
    record "$key.parked" "$(json "$out" bytes_per_poller)"
    record "$key.memory" "$(json "$out" bytes_per_poller_after)"
    record "$key.last" "$(json "$out" wall_ms median)"
    record "$key.p50" "$(awk -v us="$(json "$out" latency_us p50)" 'BEGIN { print us / 1000 }')"
    record "$key.p99" "$(awk -v us="$(json "$out" latency_us p99)" 'BEGIN { print us / 1000 }')"
    record "$key.other" "$(awk -v other="$(json "$out" other_cpu_s)" -v all="$(json "$out" rounds_s)" 'BEGIN { print 100 * other / all }')"
    local wrong
    wrong=$(($(json "$out" missed) + $(json "$out" duplicates) + $(json "$out" repeated_in_body)))
    record "$target.wrong" "$wrong"
    [[ $target != ours || $wrong == 0 ]] || die "$wrong deliveries were missed or repeated; see $out"
}

fan_out_floor() {
    local port
    port=$(free_port)
    setpriv --pdeathsig TERM -- "$POLLBENCH_BIN" floor --port "$port" >>"$work/floor.log" 2>&1 &
    PEER_PID=$!
    await_port "$port"
    arguments=(--target floor --url "http://127.0.0.1:$port" --server-pid "$PEER_PID")
}

fan_out_ours() {
    start_server
    arguments=(--target scicommons --url "$URL" --server-pid "$SERVER_PID" --jwt-secret "$JWT_SECRET"
        --first-user-id 1000 --publish-user-id 1
        --publish-path /discussions/999999999/comments --publish-body '{"text":"{text}"}' --payload-bytes 280)
}

fan_out_nchan() {
    local port folder=$work/nginx
    port=$(free_port)
    mkdir -p "$folder"
    cat >"$folder/nginx.conf" <<CONF
load_module $NCHAN_MODULE;
daemon off;
worker_processes 1;
worker_rlimit_nofile $(ulimit -n);
pid $folder/nginx.pid;
error_log $folder/error.log warn;
events { worker_connections $(($(ulimit -n) - 30)); }
http {
    access_log off;
    client_body_temp_path $folder/body; proxy_temp_path $folder/proxy; fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi; scgi_temp_path $folder/scgi;
    keepalive_timeout 600; keepalive_requests 1000000;
    server {
        listen 127.0.0.1:$port backlog=4096;
        location ~ ^/pub/(\w+)\$ { nchan_publisher; nchan_channel_id \$1; nchan_message_buffer_length 100; }
        location ~ ^/sub/(\w+)\$ { nchan_subscriber longpoll; nchan_channel_id \$1; nchan_subscriber_first_message newest; }
    }
}
CONF
    setpriv --pdeathsig TERM -- "$NGINX_BIN" -p "$folder" -c "$folder/nginx.conf" >>"$folder/log" 2>&1 &
    PEER_PID=$!
    await_port "$port"
    arguments=(--target nchan --url "http://127.0.0.1:$port" --server-pid "$PEER_PID")
}

await_port() {
    for ((i = 0; i < 100; i++)); do
        ! port_taken 127.0.0.1 "$1" || return 0
        sleep 0.1
    done
    die "nothing listens on port $1"
}

# Without pollbench: the project's own load test, every queue in one community.
own_fanout() {
    local round polls out=$work/load.json
    for ((round = 1; round <= REPEATS; round++)); do
        for polls in "${POLLS[@]}"; do
            start_server
            "$LOAD" --url "$URL" --server-pid "$SERVER_PID" --queues "$polls" --communities 1 --writers 1 \
                --rate 1 --seconds 10 --json >"$out" || die "the load test found a fault; see $out"
            stop_server
            record "ours.$polls.cpu" "$(json "$out" cpu_us_a_delivery)"
            record "ours.$polls.memory" "$(json "$out" bytes_a_queue_after)"
            record "ours.$polls.p50" "$(json "$out" delivery p50)"
            record "ours.$polls.p99" "$(json "$out" delivery p99)"
            record "ours.$polls.last" "$(json "$out" delivery max)"
        done
    done
}

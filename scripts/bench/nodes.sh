# shellcheck shell=bash
# Several nodes on one Redis, each with as many sockets as a process may open; every event is written at one node and read at
# another. Nothing may be missed.

NODES=${BENCH_NODES:-5}
NODE_QUEUES=${BENCH_NODE_QUEUES:-19000}
readonly NODE_SECONDS=60

# The sum of a gauge over all nodes.
gauge() {
    local name=$1 port line sum=0
    for port in "${node_metrics[@]}"; do
        exec 3<>"/dev/tcp/127.0.0.1/$port" || continue
        printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
        while IFS= read -r line <&3; do [[ $line != "$name "* ]] || sum=$((sum + ${line#* })); done
        exec 3>&-
    done
    echo "$sum"
}

measure_nodes() {
    local node other port pids=() urls=() loads=() status=0 most=0 now
    node_metrics=()
    own_redis "$work/redis"
    for ((node = 0; node < NODES; node++)); do
        # 100 connections are PostgreSQL's default.
        DATABASE_CONNECTIONS=8 start_server
        urls+=("$URL") pids+=("$SERVER_PID") node_metrics+=("$METRICS_PORT")
        NODE_PIDS+=("$SERVER_PID")
        SERVER_PID=""
    done
    for ((node = 0; node < NODES; node++)); do
        other=$(((node + 1) % NODES))
        setpriv --pdeathsig TERM -- "$LOAD" --slot $((node + 1)) --queues "$NODE_QUEUES" --communities 10 \
            --memberships 2 --writers 1 --rate 1 --seconds "$NODE_SECONDS" --url "${urls[node]}" --write-url "${urls[other]}" \
            --server-pid "${pids[node]}" --json >"$work/node$node.json" 2>"$work/node$node.log" &
        loads+=($!)
    done
    while kill -0 "${loads[@]}" 2>/dev/null; do
        now=$(gauge discussions_parked_polls)
        ((now <= most)) || most=$now
        sleep 5
    done
    for node in "${!loads[@]}"; do
        wait "${loads[node]}" || { status=1; tail -n 5 "$work/node$node.log" >&2; }
    done
    for port in "${pids[@]}"; do stop_one "$port"; done
    NODE_PIDS=()
    ((status == 0)) || die "a load test found a fault, or could not begin; see $work/node*.json and .log"
    record nodes.parked "$most"
    for ((node = 0; node < NODES; node++)); do
        record nodes.deliveries "$(json "$work/node$node.json" deliveries)"
        record nodes.missed "$(json "$work/node$node.json" missed)"
        record nodes.p50 "$(json "$work/node$node.json" delivery p50)"
        record nodes.p99 "$(json "$work/node$node.json" delivery p99)"
        record nodes.memory "$(json "$work/node$node.json" bytes_a_queue_after)"
        record nodes.cpu "$(json "$work/node$node.json" cpu_us_a_delivery)"
    done
}

# Many servers at once. Sourced by run.

# Of ours each is a process of its own. Of ssh's a few daemons stand in for all, each under as many addresses as it can
# listen on; any address of 127.0.0.0/8 is this machine's own on Linux.
many=100 commanded=50 listens=16

prepare_fleet() {
    head -c $((1 << 20)) /dev/urandom > "$dir/here/one"
    local number home=$dir/fleet-home state address
    mkdir -p "$home"
    for number in $(seq "$many"); do
        state=$dir/fleet/$number
        mkdir -p "$state/root"
        "$bin/ftserver" serve --root "$state/root" --state "$state/state" --listen 127.0.0.1:0 \
            >"$state/ready" 2>"$state/log" &
        pids+=($!)
    done
    use fleet
    for number in $(seq "$many"); do
        state=$dir/fleet/$number
        for _ in $(seq 200); do [ -s "$state/ready" ] && break; sleep 0.05; done
        address=$(sed 's/.*listen=\([^ ]*\).*/\1/' "$state/ready")
        "$bin/ftserver" invite bench --address "$address" --state "$state/state" --allow read,write,delete,exec \
            2>/dev/null | "$bin/ftclient" -q join --name "s$number"
    done
    use memory
    local first
    for first in $(seq 1 "$listens" "$many"); do
        # shellcheck disable=SC2046
        start_sshd $(seq -f '127.0.1.%g' "$first" $((first + listens - 1)))
    done
    for number in $(seq "$listens" "$listens" "$many") "$many"; do
        for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.1.$number/$ssh_port") 2>/dev/null && break; sleep 0.05; done
    done
}

clush_() { # addresses, then its arguments
    clush -q -S -w "$1" -o "-o Port=$ssh_port -i $dir/user_key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR" "${@:2}"
}
fleet_exec_clush() { clush_ "127.0.1.[1-$commanded]" true; }
fleet_exec_ft() { "$bin/ftclient" -q exec -H "s[1-$commanded]" true; }
fleet_put_clush() { clush_ "127.0.1.[1-$many]" --copy "$dir/here/one" --dest "$dir/here/copied"; }
fleet_put_ft() {
    "$bin/ftclient" -q put -H "s[1-$many]" "$dir/here/one" :one &
    local client=$! most=0 now open=0 peak=
    while kill -0 "$client" 2>/dev/null; do
        peak=$(memory "$client" 2>/dev/null || true)
        [ -z "$peak" ] || echo "$peak" >> "$dir/run/fleet.memory"
        now=$(ls "/proc/$client/fd" 2>/dev/null | wc -l) || true
        [ "$now" -le "$open" ] || open=$now
        sleep 0.01
    done
    echo "$open" >> "$dir/run/fleet.descriptors"
    wait "$client"
}

round_fleet() {
    local number
    use fleet
    measure fleet_exec_clush
    measure fleet_exec_ft
    measure fleet_put_clush
    measure fleet_put_ft
    use memory
    for number in $(seq "$many"); do
        cmp -s "$dir/here/one" "$dir/fleet/$number/root/one" || wrong "fleet_put_ft to server $number"
        rm -f "$dir/fleet/$number/root/one"
    done
    rm -f "$dir/here/copied"
}

table_fleet() {
    echo
    echo "| many servers                               |   median | ÷ clush |"
    echo "|---|---|---|"
    row_fleet "$commanded: ftclient exec true (32 at a time)" fleet_exec_ft fleet_exec_clush
    row_fleet "$commanded: clush true, over ssh (64 at a time)" fleet_exec_clush fleet_exec_clush
    row_fleet "$many: ftclient put of 1 MiB, verified" fleet_put_ft fleet_put_clush
    row_fleet "$many: clush --copy of it, not verified" fleet_put_clush fleet_put_clush
    echo
    echo "The client that puts to $many: $(sort -n "$dir/run/fleet.memory" | tail -1) MB at most," \
        "and $(sort -n "$dir/run/fleet.descriptors" | tail -1) descriptors"
}
row_fleet() { # label, candidate, peer
    awk -v label="$1" -v own="$(median "$2")" -v peer="$(median "$3")" \
        'BEGIN { printf "| %-42s | %6.2f s | %5.2f |\n", label, own / 1e6, own / peer }'
}

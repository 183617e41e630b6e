# One file, and one command. Sourced by run.

scp_() {
    scp -q -P "$ssh_port" -i "$dir/user_key" -c aes128-gcm@openssh.com -o StrictHostKeyChecking=no \
        -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"
}
me=$(id -un)
exec_ssh() {
    ssh -p "$ssh_port" -i "$dir/user_key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o LogLevel=ERROR "$me@127.0.0.1" true
}
exec_ft() { "$bin/ftclient" exec true; }
get_scp() { scp_ "$me@127.0.0.1:$dir/served/big" "$dir/here/copy"; }
get_scp_md5() { get_scp; md5sum "$dir/here/copy" "$dir/served/big" >/dev/null; }
get_rsync() { rsync -a "$rsync_url/m/big" "$dir/here/copy"; }
get_ft() { "$bin/ftclient" -q get big "$dir/here/copy"; }
get_ft_tree() { "$bin/ftclient" -q get --digest md5-tree big "$dir/here/copy"; }
get_ft_sha256() { "$bin/ftclient" -q get --digest sha256 big "$dir/here/copy"; }
put_scp() { scp_ "$dir/served/big" "$me@127.0.0.1:$dir/served/put"; }
put_rsync() { rsync -a "$dir/served/big" "$rsync_url/m/put"; }
put_ft() { "$bin/ftclient" -q put "$dir/served/big" put; }
put_ft_tree() { "$bin/ftclient" -q put --digest md5-tree "$dir/served/big" put; }

# 1 GiB that everybody serves.
big() { [ -e "$dir/served/big" ] || head -c $((1 << 30)) /dev/urandom > "$dir/served/big"; }

prepare_file() { big; }

round_file() {
    local candidate
    for candidate in get_scp get_ft get_rsync get_ft_tree get_scp_md5 get_ft_sha256 \
        put_scp put_ft put_rsync put_ft_tree; do
        measure "$candidate"
        case $candidate in
            get_*) cmp -s "$dir/served/big" "$dir/here/copy" || wrong "$candidate" ;;
            put_*) cmp -s "$dir/served/big" "$dir/served/put" || wrong "$candidate" ;;
        esac
        rm -f "$dir/here/copy" "$dir/served/put"
    done
}

table_file() {
    echo
    echo "| 1 GiB in memory                            |   median | ÷ scp | ÷ rsync daemon |"
    echo "|---|---|---|---|"
    row_file "get: ftclient (md5)" get_ft get_scp get_rsync
    row_file "get: ftclient --digest md5-tree" get_ft_tree get_scp get_rsync
    row_file "get: ftclient --digest sha256" get_ft_sha256 get_scp get_rsync
    row_file "get: scp aes128-gcm" get_scp get_scp get_rsync
    row_file "get: scp, then md5sum at both ends" get_scp_md5 get_scp get_rsync
    row_file "get: rsync -a from a daemon (not encrypted)" get_rsync get_scp get_rsync
    row_file "put: ftclient (md5)" put_ft put_scp put_rsync
    row_file "put: ftclient --digest md5-tree" put_ft_tree put_scp put_rsync
    row_file "put: scp aes128-gcm" put_scp put_scp put_rsync
    row_file "put: rsync -a to a daemon (not encrypted)" put_rsync put_scp put_rsync
}
row_file() { # label, candidate, scp, rsync
    awk -v label="$1" -v own="$(median "$2")" -v a="$(median "$3")" -v b="$(median "$4")" \
        'BEGIN { printf "| %-42s | %6.2f s | %5.2f | %5.2f |\n", label, own / 1e6, own / a, own / b }'
}

prepare_exec() { :; }

round_exec() {
    for _ in 1 2 3 4; do
        measure exec_ssh
        measure exec_ft
    done
}

table_exec() {
    echo
    echo "| a command that does nothing                |   median | ÷ ssh |"
    echo "|---|---|---|"
    row_exec "ftclient exec true, new connection" exec_ft
    row_exec "ssh host true, new connection" exec_ssh
}
row_exec() { # label, candidate
    awk -v label="$1" -v own="$(median "$2")" -v ssh="$(median exec_ssh)" \
        'BEGIN { printf "| %-42s | %5.1f ms | %5.2f |\n", label, own / 1e3, own / ssh }'
}

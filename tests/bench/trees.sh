# Directories. Sourced by run.

# The same tree here and at the server, made once: files of random size between two, so many in each of so many
# directories.
tree() { # name, directories, files in each, smallest, largest
    [ ! -e "$dir/here/$1" ] || return 0
    perl -e '
        my ($to, $dirs, $files, $least, $most) = @ARGV;
        srand 1;
        open my $random, "<", "/dev/urandom" or die $!;
        mkdir $to or die $!;
        for my $d (1 .. $dirs) {
            my $in = $dirs > 1 ? sprintf("%s/d%03d", $to, $d) : $to;
            mkdir $in;
            for my $f (1 .. $files) {
                read $random, my $content, $least + int rand($most - $least + 1);
                open my $file, ">", sprintf("%s/f%06d", $in, $f) or die $!;
                print $file $content;
            }
        }' "$dir/here/$1" "$2" "$3" "$4" "$5"
    cp -a "$dir/here/$1" "$dir/served/$1"
}
same() { diff -r "$1" "$2" >/dev/null || wrong "$3"; }

# Bytes that went over loopback so far, of everybody.
travelled() { awk '$1 == "lo:" { print $2 }' /proc/net/dev; }
# As measure, with the bytes that travelled.
weigh() { # candidate
    local before
    before=$(travelled)
    measure "$1"
    echo "$(($(travelled) - before))" >> "$dir/run/$1.bytes"
}
megabytes() { awk -v bytes="$(median_of "$dir/run/$1.bytes")" 'BEGIN { printf "%.1f MB", bytes / 1e6 }'; }

row() { # label, candidate, rsync, what else
    awk -v label="$1" -v own="$(median "$2")" -v rsync="$(median "$3")" -v more="${4:-}" \
        'BEGIN { printf "| %-48s | %7.3f s | %5.2f |%s\n", label, own / 1e6, own / rsync, more }'
}
head_of() { # what
    echo
    printf '| %-48s |    median | ÷ rsync daemon |%s\n' "$1" "${2:+ $2 |}"
    echo "|---|---|---|${2:+---|}"
}

get_tree_ft() { "$bin/ftclient" -q get -r -p "$1" "$dir/here/copy"; }
get_tree_rsync() { rsync -a "$rsync_url/m/$1/" "$dir/here/copy"; }
put_tree_ft() { "$bin/ftclient" -q put -r -p "$dir/here/$1" put; }
put_tree_rsync() { rsync -a "$dir/here/$1/" "$rsync_url/m/put"; }
# One function for each candidate, so that each has its times.
for size in small middle; do
    for candidate in get_tree_ft get_tree_rsync put_tree_ft put_tree_rsync; do
        eval "${size}_$candidate() { $candidate $size; }"
    done
done

both_ways() { # tree
    local candidate
    for candidate in get_tree_ft get_tree_rsync put_tree_ft put_tree_rsync; do
        measure "$1_$candidate"
        case $candidate in
            get_*) same "$dir/here/$1" "$dir/here/copy" "$1_$candidate" ;;
            put_*) same "$dir/here/$1" "$dir/served/put" "$1_$candidate" ;;
        esac
        rm -rf "$dir/here/copy" "$dir/served/put"
    done
}
rows_both_ways() { # tree
    row "get -r: ftclient" "$1_get_tree_ft" "$1_get_tree_rsync"
    row "get -r: rsync -a (not encrypted)" "$1_get_tree_rsync" "$1_get_tree_rsync"
    row "put -r: ftclient" "$1_put_tree_ft" "$1_put_tree_rsync"
    row "put -r: rsync -a (not encrypted)" "$1_put_tree_rsync" "$1_put_tree_rsync"
}

prepare_small() { tree small 100 100 512 15360; }
round_small() { both_ways small; }
table_small() {
    head_of "10,000 files, $(du -sm --apparent-size "$dir/here/small" | cut -f1) MiB, in memory"
    rows_both_ways small
}

prepare_middle() { tree middle 8 64 1048576 1048576; }
round_middle() { both_ways middle; }
table_middle() {
    head_of "512 files of 1 MiB in memory"
    rows_both_ways middle
}

unchanged_put_ft() { "$bin/ftclient" -q sync "$dir/here/small" :small; }
unchanged_put_rsync() { rsync -a "$dir/here/small/" "$rsync_url/m/small"; }
unchanged_get_ft() { "$bin/ftclient" -q sync :small "$dir/here/small"; }
unchanged_get_rsync() { rsync -a "$rsync_url/m/small/" "$dir/here/small"; }
prepare_unchanged() { prepare_small; }
round_unchanged() {
    local candidate
    for candidate in unchanged_put_ft unchanged_put_rsync unchanged_get_ft unchanged_get_rsync; do
        weigh "$candidate"
    done
}
table_unchanged() {
    head_of "10,000 files, nothing changed" "travelled"
    row "sync there: ftclient" unchanged_put_ft unchanged_put_rsync " $(megabytes unchanged_put_ft) |"
    row "sync there: rsync -a" unchanged_put_rsync unchanged_put_rsync " $(megabytes unchanged_put_rsync) |"
    row "sync here: ftclient" unchanged_get_ft unchanged_get_rsync " $(megabytes unchanged_get_ft) |"
    row "sync here: rsync -a" unchanged_get_rsync unchanged_get_rsync " $(megabytes unchanged_get_rsync) |"
}

change_put_ft() { "$bin/ftclient" -q sync "$dir/here/changed" :old; }
change_put_rsync() { rsync -a "$dir/here/changed/" "$rsync_url/m/old"; }
change_get_ft() { "$bin/ftclient" -q sync :changed "$dir/here/old"; }
change_get_rsync() { rsync -a "$rsync_url/m/changed/" "$dir/here/old"; }
prepare_change() {
    big
    mkdir "$dir/here/changed" "$dir/here/old" "$dir/served/old"
    cp "$dir/served/big" "$dir/here/changed/big"
    perl -e '
        srand 1;
        open my $random, "<", "/dev/urandom" or die $!;
        open my $file, "+<", $ARGV[0] or die $!;
        for (1 .. 100) {
            read $random, my $piece, 4096;
            seek $file, 4096 * int rand(1 << 18), 0;
            print $file $piece;
        }' "$dir/here/changed/big"
    # Another name for the same file: nobody writes to it.
    mkdir "$dir/served/changed"
    ln "$dir/here/changed/big" "$dir/served/changed/big"
}
round_change() {
    local candidate old
    for candidate in change_put_ft change_put_rsync change_get_ft change_get_rsync; do
        case $candidate in
            *_put_*) old=$dir/served/old ;;
            *) old=$dir/here/old ;;
        esac
        cp "$dir/served/big" "$old/big"
        touch -d 2001-01-01 "$old/big"
        weigh "$candidate"
        cmp -s "$dir/here/changed/big" "$old/big" || wrong "$candidate"
        rm "$old/big"
    done
}
table_change() {
    head_of "100 × 4 KiB changed in 1 GiB" "travelled"
    row "sync there: ftclient" change_put_ft change_put_rsync " $(megabytes change_put_ft) |"
    row "sync there: rsync -a" change_put_rsync change_put_rsync " $(megabytes change_put_rsync) |"
    row "sync here: ftclient" change_get_ft change_get_rsync " $(megabytes change_get_ft) |"
    row "sync here: rsync -a" change_get_rsync change_get_rsync " $(megabytes change_get_rsync) |"
}

# Runs a program and notes its largest memory, and the server's meanwhile, in MB.
peaks() { # candidate, program and arguments
    local pid key value peak=0 name=$1
    shift
    forget_memory
    "$@" &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        while read -r key value _; do
            if [ "$key" = VmHWM: ]; then peak=$value; fi
        done < "/proc/$pid/status" 2>/dev/null || true
        sleep 0.02
    done
    wait "$pid" || { echo "bench: $* failed" >&2; exit 1; }
    awk -v client="$peak" -v server="$(memory "$ftserver")" \
        'BEGIN { printf "%.1f, %.1f", client / 1000, server }' > "$dir/run/$name.memory"
}
crowd_get_ft() { peaks crowd_get_ft "$bin/ftclient" -q get -r -p crowd "$dir/here/copy"; }
crowd_put_ft() { peaks crowd_put_ft "$bin/ftclient" -q put -r -p "$dir/here/crowd" put; }
crowd_sync_ft() { peaks crowd_sync_ft "$bin/ftclient" -q sync --delete "$dir/here/crowd" :crowd; }
crowd_get_rsync() { rsync -a "$rsync_url/m/crowd/" "$dir/here/copy"; }
crowd_put_rsync() { rsync -a "$dir/here/crowd/" "$rsync_url/m/put"; }
crowd_sync_rsync() { rsync -a --delete "$dir/here/crowd/" "$rsync_url/m/crowd"; }
prepare_crowd() { tree crowd 1 100000 1 200; }
# Once: memory does not drift.
round_crowd() {
    [ "$1" = 1 ] || return 0
    local candidate
    for candidate in crowd_get_ft crowd_get_rsync crowd_put_ft crowd_put_rsync crowd_sync_ft crowd_sync_rsync; do
        measure "$candidate"
        case $candidate in
            *_get_*) same "$dir/here/crowd" "$dir/here/copy" "$candidate" ;;
            *_put_*) same "$dir/here/crowd" "$dir/served/put" "$candidate" ;;
        esac
        rm -rf "$dir/here/copy" "$dir/served/put"
    done
}
table_crowd() {
    head_of "100,000 files in one directory, one round" "memory: client, server, MB"
    row "get -r: ftclient" crowd_get_ft crowd_get_rsync " $(cat "$dir/run/crowd_get_ft.memory") |"
    row "put -r: ftclient" crowd_put_ft crowd_put_rsync " $(cat "$dir/run/crowd_put_ft.memory") |"
    row "sync --delete, nothing changed: ftclient" crowd_sync_ft crowd_sync_rsync \
        " $(cat "$dir/run/crowd_sync_ft.memory") |"
}

disk_put_ft() {
    use disk
    "$bin/ftclient" -q put -r -p "$dir/here/small" "$1"
    use memory
}
disk_put_rsync() { rsync -a "$dir/here/small/" "$rsync_url/d/$1"; }
prepare_disk() { prepare_small; }
# A fresh directory each time, all removed at the end: ext4 is slow for minutes after a large tree was deleted.
round_disk() {
    local candidate
    for candidate in disk_put_ft disk_put_rsync; do
        sync -f "$disk"
        measure "$candidate" "$candidate-$1"
        same "$dir/here/small" "$disk/$candidate-$1" "$candidate"
    done
}
table_disk() {
    head_of "put of the 10,000 files to $(stat -f -c %T "$disk")"
    row "put -r: ftclient, durable when it says so" disk_put_ft disk_put_rsync
    row "put -r: rsync -a, not durable" disk_put_rsync disk_put_rsync
}

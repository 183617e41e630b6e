#!/usr/bin/env bash
# Shows both programs at work on this machine: builds them, starts a server, pairs a client with it, sends a
# file there and back, compares its digest in every way there is, and runs a command on the server. All of it happens in a throw-away
# directory: your configuration and keys are not touched. Exits with 0 only if everything was as it should be.
set -Eeuo pipefail

readonly SIZE_MIB=256 # of the file that travels
readonly PATIENCE=30  # seconds that the server may take to start, and to stop

main() {
  trap cleanup EXIT
  trap 'unexpected $? "$LINENO" "$BASH_COMMAND"' ERR
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  build
  prepare
  start_server
  pair
  transfer
  compare
  execute
  refuse_strangers
  stop_server
  say "all is well"
}

build() {
  say "build ftserver and ftclient"
  cd "$(dirname "${BASH_SOURCE[0]}")"
  command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-${HOME:-/root}/.cargo}/bin"
  command -v cargo >/dev/null || fail "there is no cargo; https://rustup.rs says how to install Rust"
  run cargo build --release --locked -p ftserver -p ftclient
  local target
  target=$(cargo metadata --format-version 1 --no-deps --locked --offline |
    grep -o '"target_directory":"[^"]*"' | cut -d '"' -f 4)
  PATH="$target/release:$PATH"
}

prepare() {
  work=$(mktemp -d)
  mkdir "$work"/{home,served,sent,got}
  export HOME="$work/home" XDG_CONFIG_HOME="$work/home/config" XDG_STATE_HOME="$work/home/state"
  unset SSH_AUTH_SOCK
  local name
  for name in $(compgen -e); do
    case $name in FTCLIENT_* | FTSERVER_*) unset "$name" ;; esac
  done
  # A connection that breaks on this machine is a fault to be shown, not to be mended.
  export FTCLIENT_RETRIES=0
}

start_server() {
  say "start a server on a free port; it says where it listens, and the fingerprint of its key"
  mkfifo "$work/ready"
  ftserver serve --root "$work/served" --listen 127.0.0.1:0 --log-level warn >"$work/ready" &
  server=$!
  # The server holds the other end: its end of file is the server's.
  exec 3<"$work/ready"
  local ready="" status=0
  IFS= read -r -t "$PATIENCE" ready <&3 || status=$?
  ((status <= 128)) || fail "the server was not ready within $PATIENCE s"
  ((status == 0)) || fail "the server ended before it was ready"
  echo "$ready"
  [[ $ready =~ ^"ready listen="([^ ]+)" fingerprint="(SHA256:[^ ]+)$ ]] || fail "this is no ready line: '$ready'"
  address=${BASH_REMATCH[1]} fingerprint=${BASH_REMATCH[2]}
}

pair() {
  say "pair: what the server's 'invite' prints is pasted into the client's 'join'"
  ftserver invite alice --address "$address" --allow read,write,exec >"$work/invitation"
  run ftclient join --name demo <"$work/invitation"
}

transfer() {
  say "put $SIZE_MIB MiB of random bytes on the server, and get them back"
  head -c "$((SIZE_MIB << 20))" /dev/urandom >"$work/sent/random.bin"
  cd "$work"
  watched put.log ftclient put --progress always sent/random.bin demo:
  watched get.log ftclient get --progress always demo:random.bin got/
  run ftclient ls --long demo:
}

compare() {
  say "compare the digests"
  local sent
  sent=$(md5sum <sent/random.bin)
  sent=${sent%% *}
  same "md5sum of the file that was sent" "$sent" "$sent"
  same "ftclient put printed" "$(printed put.log)" "$sent"
  same "ftclient get printed" "$(printed get.log)" "$sent"
  same "md5sum of the file that came back" "$(md5sum <got/random.bin | cut -d ' ' -f 1)" "$sent"
  run ftclient sum demo:random.bin >sums
  (cd got && run md5sum -c - <../sums) || fail "md5sum -c does not confirm what 'ftclient sum' says"
  run cmp sent/random.bin got/random.bin || fail "the file that came back is not the file that was sent"
}

execute() {
  say "run commands on the server: arguments arrive as they are, and the exit status comes back"
  local sum
  sum=$(run ftclient exec -H demo md5sum random.bin) || fail "'ftclient exec md5sum' failed"
  same "md5sum, run on the server" "${sum%% *}" "$(md5sum <sent/random.bin | cut -d ' ' -f 1)"
  must_exit 1 ftclient exec -H demo test -e 'no; such $file'
  say "a shell line is a right of its own, which this account does not have"
  must_exit 255 ftclient exec -H demo --shell 'touch broken'
  [[ ! -e served/broken ]] || fail "a shell line ran that was not granted"
}

refuse_strangers() {
  say "a server with another key than the pinned one is refused"
  must_exit 7 ftclient ls demo: --fingerprint SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA
  say "a client with a key that nobody enrolled is refused"
  export XDG_CONFIG_HOME="$work/stranger"
  ftclient key >/dev/null
  must_exit 7 ftclient ls -H "alice@$address" --fingerprint "$fingerprint"
}

stop_server() {
  say "stop the server with SIGTERM"
  kill -TERM "$server"
  local status=0 more=""
  IFS= read -r -t "$PATIENCE" more <&3 || status=$?
  ((status <= 128)) || fail "the server did not stop within $PATIENCE s"
  [[ -z $more ]] || fail "the server wrote more to standard output than its ready line: '$more'"
  status=0
  wait "$server" || status=$?
  server=""
  ((status == 0)) || fail "the server ended with $status instead of 0"
}

# Runs a transfer, shows its progress and keeps its words in a file. The bar redraws one line, which a terminal
# of its width shows as such; elsewhere each state gets a line.
watched() {
  local log=$1 columns
  shift
  columns=$(stty size 2>/dev/null <&2 | cut -d ' ' -f 2) || columns=0
  if [[ -t 2 ]] && ((columns > 100)); then
    run "$@" 2>&1 | tee "$log" || fail "'$*' failed"
  else
    run "$@" 2>&1 | tee "$log" | tr '\r' '\n' | sed -u $'s/^\e\\[2K//; / 0 B 0 B\\/s/d; / 0\\/0$/d; /^ *$/d' ||
      fail "'$*' failed"
  fi
}

# The digest in a transfer's last words.
printed() {
  sed -n 's/.* md5 \([0-9a-f]\{32\}\) verified.*/\1/p' "$1"
}

same() {
  printf '  %-34s %s\n' "$1" "${2:-nothing}"
  [[ $2 == "$3" ]] || fail "$1: '$2' is not the digest of the file that was sent, '$3'"
}

must_exit() {
  local expected=$1 status=0
  shift
  run "$@" || status=$?
  ((status == expected)) || fail "'$*' ended with $status instead of $expected"
}

run() {
  printf '%s\n' "\$ $*" >&2
  running=$*
  "$@"
}

say() {
  printf '\n%s==> %s%s\n' "$bold" "$*" "$plain"
}

# Where a command fails that nobody looks at.
unexpected() {
  local what=$3
  [[ $what != '"$@"' ]] || what=$running
  fail "'$what' ended with $1 (line $2)"
}

fail() {
  trap - ERR
  if [[ -n ${server:-} ]] && ! kill -0 "$server" 2>/dev/null; then
    printf 'the server is not running any more\n' >&2
  fi
  printf '%s==> FAILED: %s%s\n' "$red" "$*" "$plain" >&2
  exit 1
}

cleanup() {
  local status=$?
  if [[ -n ${server:-} ]]; then
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  if [[ -n ${work:-} ]]; then
    rm -rf "$work"
  fi
  exit "$status"
}

bold="" red="" plain=""
if [[ -t 1 && -t 2 ]]; then
  bold=$'\e[1m' red=$'\e[1;31m' plain=$'\e[0m'
fi
# Nothing here may ask.
main </dev/null

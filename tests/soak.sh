#!/usr/bin/env bash
# Runs the long versions of the tests, with a seed that repeats them. `--sample`: a part of them in a few minutes.
#   tests/soak.sh [--sample]          FT_SEED=N tests/soak.sh repeats a run
set -euo pipefail
cd "$(dirname "$0")/.."

sample=false
case "${1-}" in
'') ;;
--sample) sample=true ;;
*)
    echo "usage: tests/soak.sh [--sample]" >&2
    exit 2
    ;;
esac

export FT_SEED="${FT_SEED:-$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')}"
echo "FT_SEED=$FT_SEED"
export RUST_BACKTRACE=1

run() {
    echo "== $*"
    "$@"
}

if $sample; then
    # Faults by count; of the others those whose long version takes no minutes.
    export FT_CASES="${FT_CASES:-500}"
    run cargo test -p ft-tests --test wire_faults
    run env FT_CASES=200 cargo test -p ft-tests --test tree_faults
    run env FT_SOAK=1 cargo test -p ft-tests --test tree_hostile
    run env FT_SOAK=1 cargo test -p ft-tests --test ghosts
    run cargo test -p ft-tests --test load
    run env FT_SOAK=1 cargo test -p ft-tests --test exec_ends again_and_again
    exit
fi

export FT_SOAK=1
run cargo test -p ft-protocol --lib escape
run cargo test -p ft-tests --test wire_faults
run cargo test -p ft-tests --test tree_faults
run cargo test -p ft-tests --test tree_hostile
run cargo test -p ft-tests --test ghosts
run cargo test -p ft-tests --test load
run cargo test -p ft-tests --test exec_ends
run cargo test -p ftclient --test e2e_soak

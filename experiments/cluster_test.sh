#!/usr/bin/env bash
# A sweep on a small cluster (a head and two workers on this machine) gives the same runs when a worker is killed.
#
#     bash experiments/cluster_test.sh
#
# Needs the extras train and ray, and about three minutes. PYTHON chooses the interpreter. All files are in a temporary
# folder, which is removed; SWEEP_FLAGS (such as "--updates 400") go to the trainings.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python}
work=$(mktemp -d /tmp/sweep.XXXX) # a short name: Ray's sockets stand in it, and a socket's path has at most 107 letters
export RAY_AUTH_MODE=disabled RAY_TMPDIR=$work RAY_USAGE_STATS_ENABLED=0 RAY_raylet_start_wait_time_s=120
export RAY_ADDRESS=127.0.0.1:${PORT:-6399}
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONPATH=$PWD PYTHONWARNINGS=ignore
ray=("$python" -c 'import sys; from ray.scripts.scripts import main; sys.argv[0] = "ray"; sys.exit(main())')
nodes=()

finish() {
    for node in "${nodes[@]}"; do # each is the leader of its processes
        kill -TERM -- "-$node" 2>/dev/null || true
    done
    sleep 3
    for node in "${nodes[@]}"; do
        kill -KILL -- "-$node" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

node() { # name, then options of ray start
    setsid "${ray[@]}" start --block --disable-usage-stats --object-store-memory=100000000 "${@:2}" \
        >"$work/$1.log" 2>&1 &
    nodes+=($!)
}

wait_for() { # seconds, then a command that succeeds in the end
    for ((i = 0; i < $1; i++)); do
        if "${@:2}" >/dev/null 2>&1; then return; fi
        sleep 1
    done
    echo "waited $1 s in vain for: ${*:2}" >&2
    tail -n 20 "$work"/*.log >&2
    exit 1
}

both_are_on_their_way() {
    [[ $(ls "$work"/killed/*/checkpoint.previous.safetensors | wc -l) == 2 ]]
}

settings=(--algos mdlbi maddpg --seeds 1 --checkpoint-every 10)
flags=(--width 16 --num-envs 4 --batch 16 --buffer 500 --critic-warmup 5 --eval-episodes 4 --eval-slots 4)
flags+=(--updates 600 --eval-every 50)
read -ra more <<<"${SWEEP_FLAGS:-}"

echo "== a head without cores, two workers with one each"
node head --head --port="${PORT:-6399}" --node-ip-address=127.0.0.1 --num-cpus=0 --include-dashboard=false
wait_for 180 grep "Ray runtime started" "$work/head.log"
node worker1 --address="$RAY_ADDRESS" --node-ip-address=127.0.0.2 --num-cpus=1
wait_for 180 grep "Ray runtime started" "$work/worker1.log"
node worker2 --address="$RAY_ADDRESS" --node-ip-address=127.0.0.3 --num-cpus=1
wait_for 180 grep "Ray runtime started" "$work/worker2.log"

echo "== undisturbed"
"$python" examples/sweep.py --out "$work/whole" "${settings[@]}" -- "${flags[@]}" "${more[@]}"

echo "== the second worker is killed in mid-run"
"$python" examples/sweep.py --out "$work/killed" "${settings[@]}" -- "${flags[@]}" "${more[@]}" \
    >"$work/killed.txt" 2>&1 &
driver=$!
wait_for 300 both_are_on_their_way # each has two checkpoints
raylet=$(pgrep -P "${nodes[2]}" -x raylet)
kill -KILL "$raylet"
echo "kill -9 $raylet (raylet of the second worker); results at that moment: $(find "$work/killed" -name result.json | wc -l)"
wait "$driver" || { cat "$work/killed.txt"; exit 1; }
grep -E "^[0-9]+ of|runs,|^[|]" "$work/killed.txt" # without what Ray says of the dead one
grep -q "went on" "$work/killed.txt" || { echo "no run went on elsewhere: the kill came too late" >&2; exit 1; }

echo "== the same?"
"$python" -m experiments.same_runs "$work/whole" "$work/killed"

echo "== a finished sweep is not run again"
"$python" examples/sweep.py --resume "$work/killed" >"$work/again.txt"
grep "2 runs, 2 of them finished" "$work/again.txt"

echo "== episodes of an evaluation as tasks"
"$python" -c '
from irs_marl_env import evaluate
here, there = (evaluate("local-gain-ao", "mdlbi-small-v0", 40, slots=3, ray=ray).to_json() for ray in (False, True))
assert here == there
print("40 episodes: the same, bit for bit")'

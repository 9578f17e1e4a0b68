#!/bin/bash
# Many trainings in one Slurm allocation: a Ray cluster on its nodes, and the pipeline on the first
# of them. What follows the file's name goes to snakemake (docs/cluster.md):
#   sbatch --nodes=4 --exclusive --mem=0 --gres=gpu:4 --cpus-per-task=40 --time=2-00:00 \
#     workflow/slurm.sh --configfile config/paper.yaml
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:TERM@300
set -u
cpus=${SLURM_CPUS_PER_TASK:?give sbatch the cores of a node: --cpus-per-task}
gpus=${SLURM_GPUS_ON_NODE:-0}
gres=none
[ "$gpus" -eq 0 ] || gres=gpu:$gpus
nodes=${SLURM_JOB_NUM_NODES:-1}
port=$((20000 + SLURM_JOB_ID % 10000))  # a node may have two such jobs
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export RAY_ADDRESS=$head:$port
export LEMORE_NODES=$nodes  # that have joined before GPUs are counted
export RAY_USAGE_STATS_ENABLED=0 RAY_USAGE_STATS_REPORT_URL=http://127.0.0.1:9/

# srun does not take over sbatch's --cpus-per-task, and Ray would count what srun gives it. In
# sessions of their own, these steps get no signal that is meant for the jobs.
steps=()
start_ray() { # <number of nodes> <srun's choice of nodes> <options of ray start>
  local count=$1 where=$2
  shift 2
  setsid srun --nodes="$count" --ntasks="$count" "$where" --kill-on-bad-exit=0 \
    --cpus-per-task="$cpus" --gres="$gres" \
    ray start "$@" --num-cpus "$cpus" --num-gpus "$gpus" --block &
  steps+=($!)
}

# Jobs end after snakemake does. A zombie (Z) has ended.
jobs_run() {
  ps -e -o pgid=,stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ {n = 1} END {exit !n}'
}

# bash runs a trap only while it waits for background processes.
trap 'kill "${steps[@]}"; exit 143' TERM INT
start_ray 1 --nodelist="$head" --head --port "$port"
for ((i = 0; i < 120; i++)); do
  (exec 3<>"/dev/tcp/$head/$port") 2>/dev/null && break
  kill -0 "${steps[0]}" 2>/dev/null || i=120
  sleep 1 & wait $!
done
[ "$i" -lt 120 ] || { echo "no head of a Ray cluster at $RAY_ADDRESS" >&2; kill "${steps[@]}"; exit 1; }
[ "$nodes" -eq 1 ] || start_ray $((nodes - 1)) --exclude="$head" --address "$RAY_ADDRESS"

trap 'kill -TERM -- "-$pipeline"' TERM INT  # snakemake and its jobs, whose trainings save
setsid snakemake --profile profiles/ray "$@" &
pipeline=$!
wait "$pipeline"
code=$?
while jobs_run "$pipeline"; do # a signal has ended the waiting, or trainings save
  sleep 1 & wait $!
done
kill "${steps[@]}" 2>/dev/null
wait
exit "$code"

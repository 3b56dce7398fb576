#!/usr/bin/env bash
# Runs examples/slurm on a Slurm of this machine alone: an array of 3 tasks on a tiny model and the merge behind it, and another
# command whose second task is submitted later; the results are compared with runs without shards, byte for byte. Slurm lives in
# a temporary folder and is taken down again.
#
#   tests/slurm.sh [GATELENS]          # default: target/release/gatelens
#
# Needs root, and Debian's slurm-wlm and munge, which it installs where they are missing. Where that cannot be done it says
# `slurm: not run` and the reason, and exits 0.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
gatelens=$(realpath -m "${1:-$root/target/release/gatelens}")

not_run() {
  echo "slurm: not run ($1)"
  exit 0
}
fail() {
  echo "slurm: $1" >&2
  tail -n 15 "$temporary"/logs/* >&2 2>/dev/null || tail -n 15 "$temporary"/*.log >&2 || true
  exit 1
}

[ -x "$gatelens" ] || { echo "slurm: no $gatelens" >&2; exit 1; }
[ "$(id -u)" = 0 ] || not_run "needs root"
export PATH=$PATH:/usr/sbin:/sbin
installed() { command -v slurmctld && command -v slurmd && command -v sbatch && command -v munged; } >/dev/null 2>&1
if ! installed; then
  command -v apt-get >/dev/null 2>&1 || not_run "no slurmctld, and no apt-get to install it"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge; } \
    >/dev/null 2>&1 || not_run "slurm-wlm could not be installed"
  installed || not_run "slurm-wlm could not be installed"
fi

temporary=$(mktemp -d)
daemons=()
take_down() {
  local pid
  [ ! -e "$temporary/slurm.conf" ] || timeout 10 scancel --user root >/dev/null 2>&1 || true
  for pid in "${daemons[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${daemons[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$temporary"
}
trap take_down EXIT

# A daemon of ours: in the foreground, with its output in a log, ended with this script.
daemon() {
  local log=$temporary/$1.log
  shift
  "$@" >"$log" 2>&1 &
  daemons+=($!)
}
# Waits until a command succeeds: await SECONDS WHAT COMMAND
await() {
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || fail "waited in vain for $what"
    sleep 0.2
  done
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Keys and folders of munge's are its user's alone; the others must be readable on the way there.
chmod 755 "$temporary"
mkdir -p "$temporary"/{state,spool,logs,work}
install -d -o munge -g munge "$temporary/munge"
dd if=/dev/urandom of="$temporary/munge/key" bs=128 count=1 status=none
chown munge: "$temporary/munge/key"
chmod 400 "$temporary/munge/key"
socket=$temporary/munge/socket
daemon munged setpriv --reuid munge --regid munge --clear-groups munged --foreground --key-file "$temporary/munge/key" \
  --socket "$socket" --pid-file "$temporary/munge/pid" --log-file "$temporary/munge/log" --seed-file "$temporary/munge/seed"
await 30 munged test -S "$socket"

host=$(hostname -s)
cat >"$temporary/slurm.conf" <<CONF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$socket
CryptoType=crypto/munge
StateSaveLocation=$temporary/state
SlurmdSpoolDir=$temporary/spool
SlurmctldPidFile=$temporary/slurmctld.pid
SlurmdPidFile=$temporary/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
ReturnToService=2
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF=$temporary/slurm.conf
daemon slurmctld slurmctld -D
daemon slurmd slurmd -D -N "$host"
idle() { [ "$(sinfo -h -o %T)" = idle ]; }
await 30 "the node" idle

cd "$temporary/logs"
export MERGE_ARGS="--cpus-per-task=1 --mem=0 --time=5"
small="--cpus-per-task=1 --mem=0 --time=5"
settings=(--model "$root/tests/goldens/tiny-llama" --threshold 0.2 --classes "conditional-enrichment,conditional-depletion"
  --subset all --draws 5 --max-memory 300MiB)
sweep=("${settings[@]}" --window 2)
submit() { "$root/examples/slurm/submit.sh" "$@"; }
ended() { [ -z "$(squeue -h -o %i)" ]; }

# The program may be several words, as with a container.
said=$(GATELENS="env HERE=1 $gatelens" OUT=$temporary/work/ablate SBATCH_ARGS="--array=0-2 $small" submit ablate "${settings[@]}")
echo "slurm $(sinfo --version | cut -d' ' -f2): ${said%%$'\n'*}"
# Shard 1 of 2 alone: the merge behind it has nothing to join yet.
export GATELENS=$gatelens SHARDS=2
OUT=$temporary/work/sweep SBATCH_ARGS="--array=1 $small" submit sweep "${sweep[@]}" >/dev/null
await 120 "the end of the jobs" ended
[ ! -e "$temporary/work/sweep/run.json" ] || fail "a shard alone was taken for the run"
OUT=$temporary/work/sweep SBATCH_ARGS="--array=0 $small" submit sweep "${sweep[@]}" >/dev/null
await 120 "the end of the jobs" ended

compare() {
  local command=$1 file
  shift
  "$gatelens" "$command" "$@" --out "$temporary/work/whole-$command" >/dev/null 2>"$temporary/logs/whole" || fail "$command without shards failed"
  [ -e "$temporary/work/$command/run.json" ] || fail "no result of $command"
  for file in outcomes.parquet effects.json; do
    cmp "$temporary/work/whole-$command/$file" "$temporary/work/$command/$file" || fail "$command: $file differs from that of a run without shards"
  done
}
compare ablate "${settings[@]}"
compare sweep "${sweep[@]}"
echo "slurm: 3 tasks, and 2 of which one was lost, give with their merges the files of one run"

#!/usr/bin/env bash
# Submits a run as an array of shards, and the merge behind it. README.md beside this file says what to set, and how to go on
# where a task fails.
#
#   OUT=/scratch/me/run1 examples/slurm/submit.sh ablate --model org/name --max-memory 27GiB --draws 20
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${OUT:?the folder of the whole run, as OUT=DIR $0 COMMAND ...}"
export OUT
case "${1:-}" in
ablate | sweep | rank | attributes | record | verify) ;;
*)
  echo "name a command that runs in shards first: ablate, sweep, rank, attributes, record or verify" >&2
  exit 1
  ;;
esac
case " $* " in
*" --max-memory"*) ;;
*)
  echo "give --max-memory, such as 27GiB: without it nodes with other memory cut other passes, and the merge refuses them" >&2
  exit 1
  ;;
esac
if [ -e "$OUT/run.json" ]; then
  echo "$OUT holds a finished run; take another OUT" >&2
  exit 1
fi
mkdir -p "$OUT"

read -ra options <<<"${SBATCH_ARGS:-}"
array=$(sbatch --parsable "${options[@]}" "$here/shard.sbatch" "$@")
array=${array%%;*} # a federated cluster adds its name
read -ra options <<<"${MERGE_ARGS:-}"
merge=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes "${options[@]}" "$here/merge.sbatch")
echo "array job $array, merge job ${merge%%;*}; the result will be in $OUT"
cat <<TEXT
Tasks share the passes of the run: a task more than there are passes has nothing to do. The same command with --dry-run and
without OUT says how many passes there are at most; SBATCH_ARGS="--array=0-3" makes four tasks. Where a task fails nothing is
merged, and $here/README.md says how to go on.
TEXT

#!/usr/bin/env bash
# Submits the array and the merge behind it. Run on the login node; OUT must be on a file system that all nodes see.
#
#   OUT=/scratch/me/run1 examples/slurm/submit.sh --model org/name --max-memory 27GiB --draws 20
#
# SBATCH_ARGS="--partition=cpu --array=0-3" changes the array's resources, MERGE_ARGS the merge's. --max-memory is needed: it makes
# every shard cut the same passes, whatever its node has free. Logs go to the current folder. Before: activate the environment that gatelens
# is in (or GATELENS=/path/to/gatelens), and `gatelens fetch MODEL`, where nodes have no network. Passes are what shards share: the same command
# with --dry-run in place of OUT says how many there are, and a task more than that has nothing to do.
# Where a task fails, the merge job goes without a word (afterok): docs/scale.md says how to go on.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${OUT:?the folder of the whole run, as OUT=DIR $0 ...}"
export OUT
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
array=$(sbatch --parsable "${options[@]}" "$here/ablate.sbatch" "$@")
array=${array%%;*} # a federated cluster adds its name
read -ra options <<<"${MERGE_ARGS:-}"
merge=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes "${options[@]}" "$here/merge.sbatch")
echo "array job $array, merge job ${merge%%;*}; the result will be in $OUT"

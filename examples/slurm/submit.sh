#!/usr/bin/env bash
# Submits the array and the merge behind it. Run on the login node; OUT must be on a file system that all nodes see.
#
#   OUT=/scratch/me/run1 examples/slurm/submit.sh --model org/name --max-memory 27GiB --draws 20
#
# SBATCH_ARGS="--partition=cpu --array=0-3" changes the array's resources, MERGE_ARGS the merge's. --max-memory is needed: it makes
# every shard cut the same passes, whatever its node has free. Logs go to the current folder.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
: "${OUT:?the folder of the whole run, as OUT=DIR $0 ...}"
export OUT
mkdir -p "$OUT"

read -ra options <<<"${SBATCH_ARGS:-}"
array=$(sbatch --parsable "${options[@]}" "$here/ablate.sbatch" "$@")
array=${array%%;*} # a federated cluster adds its name
read -ra options <<<"${MERGE_ARGS:-}"
merge=$(sbatch --parsable --dependency="afterok:$array" --kill-on-invalid-dep=yes "${options[@]}" "$here/merge.sbatch")
echo "array job $array, merge job ${merge%%;*}; the result will be in $OUT"

#!/usr/bin/env bash
# What needs a card, in one go: goldens, edits and gradients on it, then ablations on the CPU and on the card, compared and timed.
#
#   tests/device.sh GATELENS SUITE [DEVICE]
#
# GATELENS and SUITE are the program and the test binary, both built with --features cuda (docs/devices.md); DEVICE is cuda or, to try the
# script without a card, cpu:tensors. Models are those of the cache (`gatelens fetch`). Needs Python for the comparison.
set -euo pipefail
gatelens=$(realpath "${1:?the program}")
suite=$(realpath "${2:?the test binary of the suite}")
device=${3:-cuda}
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

if [ "$device" = cuda ]; then
  nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
fi
export GATELENS_TEST_DEVICE=$device
"$suite" --nocapture families:: goldens:: edits:: engine:: gradients:: paths:: precisions:: | grep -E "against|logprobs|mean|^test "

by() { # NAME MODEL OPTIONS...
  local name=$1 model=$2
  shift 2
  "$gatelens" ablate --model "$model" --classes conditional-enrichment --draws 4 --subset all --out "$out/$model-$name" "$@" >/dev/null
}
for model in smollm2-135m gemma3-270m; do
  by f32 "$model" --device "$device"
  by bf16 "$model" --device "$device" --dtype bf16
  by cpu "$model"
  python3 - "$out/$model" <<'PY'
import json, sys

def read(name):
    folder = f"{sys.argv[1]}-{name}"
    effects = json.load(open(f"{folder}/effects.json"))
    means = {(e["metric"], e["class"]): e["means"]["class"] for e in effects}
    return means, json.load(open(f"{folder}/run.json"))["wall_s"]

cpu, cpu_s = read("cpu")
for name in ["f32", "bf16"]:
    found, seconds = read(name)
    worst = max((abs(found[key] - cpu[key]), key) for key in cpu if cpu[key] is not None)
    print(f"{sys.argv[1].split('/')[-1]} {name}: {seconds:.1f} s (CPU {cpu_s:.1f} s), a mean differs by at most {worst[0]:.2e} ({worst[1][0]})")
PY
done

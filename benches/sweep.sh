#!/usr/bin/env bash
# One sweep over single layers against one ablation a layer: seconds of processor time, which other programs on the
# machine hardly change. Usage: benches/sweep.sh [CLASS] [gatelens options, such as --model M or --prompts F]
set -euo pipefail
class=${1:-conditional-depletion}
shift || true
gatelens=${GATELENS:-target/release/gatelens}
options=(--classes "$class" --draws 0 "$@")
times=$(mktemp)
trap 'rm -f "$times"' EXIT
TIMEFORMAT='%U %S'

measured() { { time "$gatelens" "$@" >/dev/null 2>&1; } 2>>"$times"; }
seconds() { awk '{s += $1 + $2} END {printf "%.1f", s}' "$times"; : >"$times"; }

layers=$("$gatelens" sweep "${options[@]}" --json 2>/dev/null |
  python3 -c 'import json,sys; print(*sorted({e["layers"][0] for e in json.load(sys.stdin)["effects"]}))')
measured sweep "${options[@]}"
together=$(seconds)
for layer in $layers; do
  measured ablate "${options[@]}" --layers "$layer..$((layer + 1))"
done
apart=$(seconds)
echo "$class, $(wc -w <<<"$layers") layers: one sweep $together s, one ablation a layer $apart s of processor time," \
  "$(python3 -c "print(f'{100 * $together / $apart:.0f} %')")"

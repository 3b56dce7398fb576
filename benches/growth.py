"""How the cost of an ablation grows, in seconds of wall time and of processor time, and in memory.

    cargo build --release
    python benches/growth.py                       # prompts, conditions, layers, and both aliases; 4 minutes on two cores
    python benches/growth.py --big FOLDER          # and a model made by big_model.py, streamed

Prints a Markdown table. Prompts are the first of the bundled facts; a condition is the class conditional-depletion or as many
random neurons of its layers.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def measured(command):
    start = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(map(str, command))}\n{said}")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gatelens", default=ROOT / "target/release/gatelens", type=Path)
    parser.add_argument("--big", type=Path, help="folder of a large model")
    args = parser.parse_args()
    facts = (ROOT / "prompts/facts.jsonl").read_text().splitlines(keepends=True)
    with tempfile.TemporaryDirectory() as temporary:
        def prompts(count):
            path = Path(temporary) / f"{count}.jsonl"
            path.write_text("".join(facts[:count]))
            return path

        def row(name, count, draws, *options):
            command = [args.gatelens, "ablate", "--subset", "all", "--prompts", prompts(count), "--draws", draws, *options]
            wall, processor, memory = measured(command)
            print(f"| {name} | {wall:.1f} | {processor:.1f} | {memory:,.0f} |", flush=True)

        one = ["--classes", "conditional-depletion"]
        print("| | wall, s | processor, s | peak MiB |\n|---|--:|--:|--:|")
        for count in (35, 140, 560):
            row(f"{count} prompts, clean and 4 conditions", count, 3, *one)
        for conditions in (1, 4, 16):
            row(f"140 prompts, clean and {conditions} conditions", 140, conditions - 1, *one)
        for first in (29, 20, 10, 0):
            row(f"140 prompts, clean and 16 conditions in layers {first} to 29", 140, 15, *one, "--layers", f"{first}..30")
        for model in ("smollm2-135m", "gemma3-270m"):
            row(f"140 prompts, clean and 4 conditions, {model}", 140, 3, *one, "--model", model)
        if args.big:
            neurons = Path(temporary) / "big.txt"
            neurons.write_text("".join(f"{layer}.{neuron}\n" for layer in range(28) for neuron in range(0, 8000, 400)))
            row(f"24 prompts, clean and 4 conditions, {args.big.name}, --max-memory 2GiB", 24, 3, "--neurons", neurons,
                "--model", args.big, "--max-memory", "2GiB")


if __name__ == "__main__":
    main()

"""The same ablation by gatelens and by the tools that people use today, one after the other on this machine.

    pip install torch transformers transformer_lens gguf pyarrow
    cargo build --release
    python benches/peers/compare.py            # the default model, the bundled facts; 5 minutes on two cores

Prints a Markdown table: seconds per condition (all prompts under one ablation), the ratio to gatelens, prompt tokens per second, peak
memory of the process, and the largest difference of a target's log-probability from transformers in float64. Loading a model is not
counted for the others; gatelens's time is that of the whole command. "Products alone" are the matrix products of all tokens without anything
else, by torch and by the kernels that gatelens calls (`cargo bench -- products`).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TRUTH = "float64"
WAYS = ["one hook per neuron", "TransformerLens, single", "TransformerLens, batched", "transformers, batched",
        "products alone, torch"]
SLOW = WAYS[:2]
FLOOR = WAYS[-1]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gatelens", default=ROOT / "target/release/gatelens", type=Path)
    parser.add_argument("--prompts", default=ROOT / "prompts/facts.jsonl", type=Path)
    parser.add_argument("--class", dest="name", default="conditional-depletion", help="the class that is ablated")
    parser.add_argument("--draws", default=10, type=int, help="random sets that gatelens ablates beside the class")
    parser.add_argument("--slow", default=56, type=int, help="prompts that single-prompt ways run; the rest is extrapolated")
    return parser.parse_args()


def measured(command, **options):
    """Runs a command: what it printed, its seconds, and its peak memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]} failed: run it by hand: {' '.join(map(str, command))}")
    return printed, time.perf_counter() - start, usage.ru_maxrss / 1024


def neurons_of(name, folder):
    """The neurons of a class by layer, from gatelens's own table."""
    import pyarrow.parquet as parquet
    table = parquet.read_table(folder / "neurons.parquet").to_pydict()
    by_layer = {}
    for layer, neuron, found in zip(table["layer"], table["neuron"], table["class"]):
        if found == name:
            by_layer.setdefault(layer, []).append(neuron)
    return by_layer


def outcomes(folder, name):
    """Log-probabilities of the targets with the class off, prompt by prompt."""
    import pyarrow.parquet as parquet
    rows = parquet.read_table(folder / "outcomes.parquet").to_pylist()
    return np.array([row["target_logprob"] for row in rows if row["class"] == name and row["arm"] == "class"])


def peer(way, folder, args, condition):
    """Runs a way in a process of its own."""
    job = folder / "job.json"
    limit = args.slow if way in SLOW else None
    job.write_text(json.dumps(dict(way=way, folder=str(folder / "plain"), prompts=str(args.prompts), limit=limit,
                                   condition=condition)))
    printed, _, memory = measured([sys.executable, Path(__file__).with_name("runs.py"), job])
    return dict(json.loads(printed.splitlines()[-1]), memory=memory)


def own_products():
    """Tokens per second of the products alone, by criterion."""
    measured(["cargo", "bench", "--bench", "engine", "--", "products"], cwd=ROOT)
    estimates = json.loads((ROOT / "target/criterion/products/products/new/estimates.json").read_text())
    tokens = json.loads((ROOT / "target/criterion/products/products/new/benchmark.json").read_text())["throughput"]["Elements"]
    return tokens / (estimates["mean"]["point_estimate"] * 1e-9)


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = [args.gatelens, "classify", "--chance", "beta", "--out", folder / "classes"]
        measured(run)
        gguf = measured([args.gatelens, "fetch"])[0].strip().splitlines()[-1].split()[-1]
        condition = neurons_of(args.name, folder / "classes")
        measured([sys.executable, Path(__file__).with_name("runs.py"), "export", gguf, folder / "plain"])

        options = ["--classes", args.name, "--subset", "all", "--prompts", args.prompts]
        run = [args.gatelens, "ablate", *options, "--draws", args.draws, "--out", folder / "ablate"]
        _, total, memory = measured(run)
        own, scores = total / (args.draws + 2), outcomes(folder / "ablate", args.name)
        run = [args.gatelens, "sweep", *options, "--draws", 0, "--out", folder / "sweep"]
        _, swept, sweep_memory = measured(run)

        found = {}
        for way in [TRUTH, *WAYS]:
            print(f"{way} ...", file=sys.stderr, flush=True)
            found[way] = peer(way, folder, args, condition)
        tokens, truth = found[FLOOR]["tokens"], np.array(found[TRUTH]["scores"])

    def off(scores):
        return f"{np.abs(np.array(scores) - truth[:len(scores)]).max():.1e}"

    def row(name, seconds, memory, note):
        memory = f"{memory:,.0f}" if memory else ""
        print(f"| {name} | {seconds:.2f} | {seconds / own:.2f} | {tokens / seconds:,.0f} | {memory} | {note} |")

    neurons = sum(map(len, condition.values()))
    print(f"{len(truth)} prompts, {tokens:,} tokens; {args.name}, {neurons:,} neurons, set to zero; {os.cpu_count()} cores, "
          f"{platform.machine()}\n")
    print("| | s per condition | times gatelens | tokens/s | peak MiB | largest error, nats |")
    print("|---|--:|--:|--:|--:|---|")
    for way in WAYS:
        it = found[way]
        note = ""
        if way != FLOOR:
            note = off(it["scores"])
        if way in SLOW:
            note += f" ({len(it['scores'])} prompts run, time extrapolated)"
        row(way, it["seconds"] * tokens / it["tokens"], it["memory"] if way != FLOOR else None, note)
    row("products alone, gatelens's kernels", tokens / own_products(), None, "")
    row(f"**gatelens ablate**, {args.draws + 2} conditions", own, memory, off(scores))
    row(f"**gatelens sweep**, {len(condition)} single layers", swept / len(condition), sweep_memory, "")


if __name__ == "__main__":
    main()

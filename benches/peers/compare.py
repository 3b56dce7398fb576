"""The same ablation by gatelens and by the tools that people use today, one after the other on this machine.

    pip install torch transformers transformer_lens gguf pyarrow
    cargo build --release
    python benches/peers/compare.py            # the default model, the bundled facts; about 15 minutes on two cores

Prints a Markdown table: seconds per condition (all prompts under one ablation), the ratio to gatelens, prompt tokens per second, peak
memory of the process, the share of the time that its matrix products alone would take, and the largest difference of a target's
log-probability from gatelens's. Loading a model is not counted for the others; gatelens's time is that of the whole command.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SLOW = {"one hook per neuron", "TransformerLens, single"}
FLOOR = "matrix products alone"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).resolve().parents[2]
    parser.add_argument("--gatelens", default=here / "target/release/gatelens", type=Path)
    parser.add_argument("--prompts", default=here / "prompts/facts.jsonl", type=Path)
    parser.add_argument("--class", dest="name", default="conditional-depletion", help="the class that is ablated")
    parser.add_argument("--draws", default=10, type=int, help="random sets that gatelens ablates beside the class")
    parser.add_argument("--slow", default=56, type=int, help="prompts that single-prompt ways run; the rest is extrapolated")
    parser.add_argument("--only", nargs="*", help="these ways alone")
    return parser.parse_args()


def export(gguf, folder):
    """The weights in float32, as transformers loads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    import torch
    place = dict(pretrained_model_name_or_path=gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    del loaded.config.quantization_config
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.float().save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)


def neurons_of(name, folder):
    """The neurons of a class by layer, from gatelens's own table."""
    import pyarrow.parquet as parquet
    table = parquet.read_table(folder / "neurons.parquet").to_pydict()
    by_layer = {}
    for layer, neuron, found in zip(table["layer"], table["neuron"], table["class"]):
        if found == name:
            by_layer.setdefault(layer, []).append(neuron)
    return by_layer


def gatelens(command, *options):
    """Runs a command; its seconds and the peak memory of the process in MiB."""
    start = time.perf_counter()
    subprocess.run([command, *map(str, options)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def outcomes(folder, name):
    """Log-probabilities of the targets with the class off, prompt by prompt."""
    import pyarrow.parquet as parquet
    rows = parquet.read_table(folder / "outcomes.parquet").to_pylist()
    return np.array([row["target_logprob"] for row in rows if row["class"] == name and row["arm"] == "class"])


def child(way, folder, args, limit, condition):
    """Runs a way in a process of its own."""
    job = dict(way=way, folder=str(folder), prompts=str(args.prompts), limit=limit, condition=condition)
    out = subprocess.run([sys.executable, __file__, "--child"], input=json.dumps(job), text=True, check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parent).stdout
    return json.loads(out.splitlines()[-1])


def child_main():
    import runs
    job = json.load(sys.stdin)
    work = runs.Work(job["folder"], job["prompts"], job["limit"])
    condition = {int(layer): neurons for layer, neurons in job["condition"].items()}
    seconds, scores = runs.measure(job["way"], work, [condition])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(dict(seconds=seconds, tokens=work.tokens, memory=memory, scores=scores[0].tolist())))


def row(name, seconds, own, tokens, memory, floor, note):
    return (f"| {name} | {seconds:.2f} | {seconds / own:.2f} | {tokens / seconds:,.0f} | {memory:,.0f} | "
            f"{100 * floor / seconds:.0f} % | {note} |")


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        gatelens(args.gatelens, "classify", "--chance", "beta", "--out", folder / "classes")
        run = json.load(open(folder / "classes/run.json"))
        gguf = Path(subprocess.run([args.gatelens, "fetch"], check=True, text=True, stdout=subprocess.PIPE)
                    .stdout.strip().splitlines()[-1].split()[-1])
        condition = neurons_of(args.name, folder / "classes")
        count = sum(map(len, condition.values()))
        export(gguf, folder / "plain")

        options = ["--classes", args.name, "--subset", "all", "--prompts", args.prompts]
        total, memory = gatelens(args.gatelens, "ablate", *options, "--draws", args.draws, "--out", folder / "ablate")
        own, expected = total / (args.draws + 2), outcomes(folder / "ablate", args.name)
        swept, _ = gatelens(args.gatelens, "sweep", *options, "--draws", 0, "--out", folder / "sweep")
        swept /= len(condition)

        import runs
        ways = [way for way in runs.WAYS if not args.only or way in args.only or way == FLOOR]
        found = {}
        for way in ways:
            print(f"{way} ...", file=sys.stderr, flush=True)
            found[way] = child(way, folder / "plain", args, args.slow if way in SLOW else None, condition)
        floor, tokens = found[FLOOR]["seconds"], found[FLOOR]["tokens"]
        print(f"{run['model']['id']}, {len(expected)} prompts, {tokens:,} tokens; {args.name} ({count:,} neurons) set to zero; "
              f"{os.cpu_count()} cores, {platform.machine()}\n")
        print("| | s per condition | times gatelens | tokens/s | peak MiB | products' share | largest difference |")
        print("|---|--:|--:|--:|--:|--:|---|")
        for way in ways:
            it = found[way]
            seconds = it["seconds"] * tokens / it["tokens"]
            if way == FLOOR:
                note = ""
            else:
                note = f"{np.abs(np.array(it['scores']) - expected[:len(it['scores'])]).max():.1e}"
            if way in SLOW:
                note += f" ({len(it['scores'])} prompts run)"
            print(row(way, seconds, own, tokens, it["memory"], floor, note))
        print(row(f"gatelens ablate, {args.draws + 2} conditions", own, own, tokens, memory, floor, ""))
        print(row(f"gatelens sweep, {len(condition)} single layers", swept, own, tokens, memory, floor, ""))


if __name__ == "__main__":
    child_main() if "--child" in sys.argv else main()

"""An ablation of a large model on paper: passes, bytes and hours on many nodes, by the engine's own formulas.

    python benches/scale.py                                    # Llama 2 7B, 20 draws, 10,000 facts
    python benches/scale.py --gflops 150 --serial 0.05         # with a rate that you measured

The formulas are those of `src/model/estimate.rs` (memory), `src/engine/mod.rs` (`bytes_per_token`, `work_units`) and
`src/experiment/groups.rs` (`tokens_per_pass`, `groups`). Every condition is taken to begin at layer 0, the worst case.
"""

import argparse
from math import ceil

MIB, GIB = 1 << 20, 1 << 30
LONGEST_PASS, PASS_TOKENS, PASS_SCORE_BYTES = 2048, 64, 48
MODELS = {  # layers, d_model, d_mlp, heads, kv heads, head width, vocabulary, head tied to the embedding
    "llama-2-7b": (32, 4096, 11008, 32, 32, 128, 32000, False),
    "llama-3.1-8b": (32, 4096, 14336, 32, 8, 128, 128256, False),
    "llama-3.2-3b": (28, 3072, 8192, 24, 8, 128, 128256, True),
    "smollm2-135m": (30, 576, 1536, 9, 3, 64, 49152, True),
}


class Plan:
    def __init__(self, model, facts, tokens_per_fact, longest, conditions, memory):
        self.layers, self.d, self.mlp, self.heads, self.kv, self.width, self.vocabulary, tied = MODELS[model]
        self.facts, self.tokens, self.longest, self.conditions = facts, ceil(facts * tokens_per_fact), longest, conditions
        self.layer = self.d * self.width * (2 * self.heads + 2 * self.kv) + 3 * self.d * self.mlp
        self.head = self.vocabulary * self.d
        self.parameters = self.layers * self.layer + self.head * (1 if tied else 2)
        self.resident = 4 * (self.layers * self.layer + self.head + self.d * self.mlp) + 64 * MIB + 1024 * self.vocabulary
        self.streamed = 4 * (2 * self.layer + self.d * self.mlp) + 64 * MIB + 1024 * self.vocabulary
        if memory is None:  # whatever is free: all layers, and 512 MiB of activations
            self.residency, self.activations = "resident", 512 * MIB
        elif memory - self.resident >= 512 * MIB:
            self.residency, self.activations = "resident", memory - self.resident
        else:
            self.residency, self.activations = "streamed", memory - self.streamed
        self.groups, self.passes, self.members = min((self.grouped(size) for size in self.sizes()), key=lambda g: g[0])[1:]

    def sizes(self):
        size = self.conditions - 1
        while True:
            yield size
            if size == 1:
                return
            size = ceil(size / 2)

    def bytes_per_token(self, conditions):
        queries, keys = self.heads * self.width, self.kv * self.width
        residuals = (conditions + 3) * self.d + 2 * keys
        attention = 5 * queries + 8 * keys + 3 * self.heads * self.longest
        return 4 * (residuals + self.longest + max(5 * self.mlp, attention))

    def tokens_per_pass(self, conditions):
        return int(min(LONGEST_PASS, self.activations // self.bytes_per_token(conditions)))

    def work_units(self, conditions):
        """Halves of a layer for one stream, and two for each head; forks in layer 0."""
        return (1 + conditions) + (self.layers - 1) * 2 * conditions + 2 * conditions

    def grouped(self, size):
        edited = self.conditions - 1
        groups = ceil(edited / size)
        members = 1 + ceil(edited / groups)
        if self.tokens_per_pass(members) < self.longest:
            return float("inf"), groups, 0, members
        passes = ceil(self.tokens / self.tokens_per_pass(members))
        return groups * self.work_units(members) * (self.tokens + PASS_TOKENS * passes), groups, groups * passes, members

    def flops(self, conditions):
        """Of all tokens under so many conditions in one group."""
        return self.tokens * conditions * 2 * self.layers * self.layer + self.facts * conditions * 2 * self.head


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="llama-2-7b")
    parser.add_argument("--facts", type=int, default=10_000)
    parser.add_argument("--tokens-per-fact", type=float, default=10.3)
    parser.add_argument("--longest", type=int, default=32, help="tokens of the longest fact")
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cores", type=int, default=32)
    parser.add_argument("--tasks", type=int, nargs="*", default=[1, 4], help="shards that share a node and its cores")
    parser.add_argument("--gflops", type=float, default=77.0, help="of one core")
    parser.add_argument("--serial", type=float, default=0.10, help="share of one core's time that more cores do not shorten")
    parser.add_argument("--open", type=float, default=120.0, help="seconds to open the model and make the class table")
    parser.add_argument("--memory", type=float, nargs="*", default=[60, 27, 25.5, 4], help="GiB that --max-memory gives")
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 16, 100])
    args = parser.parse_args()
    conditions = 1 + args.classes * (1 + args.draws)

    def planned(memory):
        return Plan(args.model, args.facts, args.tokens_per_fact, args.longest, conditions, memory and memory * GIB)

    plans = [(memory and f"{memory:g}GiB" or "not given", planned(memory)) for memory in (None, *args.memory)]
    print("| --max-memory | layers | groups | conditions in each | tokens a pass | passes |\n|---|---|--:|--:|--:|--:|")
    for name, plan in plans:
        tokens = plan.tokens_per_pass(plan.members)
        print(f"| {name} | {plan.residency} | {plan.groups} | {plan.members} | {tokens:,} | {plan.passes} |")

    plan = Plan(args.model, args.facts, args.tokens_per_fact, args.longest, conditions, None)
    rows = args.facts * conditions
    print(f"\n{plan.parameters / 1e9:.2f} billion parameters, {plan.tokens:,} tokens, {conditions} conditions")
    print(f"weights: {2 * plan.parameters / GIB:.1f} GiB in bf16, {plan.resident / GIB:.1f} GiB held as f32")
    print(f"outcomes: {rows:,} rows; parts: {rows * PASS_SCORE_BYTES / MIB:,.0f} MiB")
    clean = plan.flops(1)
    for tasks in args.tasks:
        cores = args.cores // tasks
        counts_for = 1 / (args.serial + (1 - args.serial) / cores)
        rate = args.gflops * 1e9 * counts_for
        before = (args.open + clean / rate) / 3600
        print(f"\n{tasks} shard{'s'[:tasks > 1]} a node: {cores} cores count for {counts_for:.1f}, {rate / 1e12:.2f} TFLOP a second; "
              f"before its first pass a shard takes {before:.2f} hours (opening {args.open:.0f} s, clean pass {clean / 1e15:.2f} PFLOP)\n")
        columns = " | ".join(f"{nodes} node{'s'[:nodes > 1]}" for nodes in args.nodes)
        print(f"| --max-memory | edits, PFLOP | a pass, hours | {columns} |\n|---|--:|--:|{'--:|' * len(args.nodes)}")
        for name, plan in plans:
            edits = plan.flops(plan.members) * plan.groups
            packing = 1 + PASS_TOKENS * plan.passes / (plan.groups * plan.tokens)
            one = edits * packing / plan.passes / rate / 3600
            hours = [before + ceil(plan.passes / min(nodes * tasks, plan.passes)) * one for nodes in args.nodes]
            print(f"| {name} | {edits / 1e15:.1f} | {one:.2f} | {' | '.join(f'{h:.1f}' for h in hours)} |")


if __name__ == "__main__":
    main()

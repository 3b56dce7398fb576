"""The experiment as other tools run it: zero a set of MLP neurons, score the targets of factual prompts.

One function per way. Each takes the work and a list of conditions (a condition maps a layer to the neurons that are zero) and
returns, for each condition, the log-probability of the whole target of each prompt, in nats.

    python runs.py export MODEL.gguf FOLDER    # the weights in float32, as transformers loads them
    python runs.py JOB.json                    # called by compare.py
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BATCH = 64


class Work:
    """Prompts as tokens: what a model reads, and at which rows which target tokens are scored."""

    def __init__(self, folder, prompts, limit):
        self.folder = folder
        tokenizer = AutoTokenizer.from_pretrained(folder)
        facts = [json.loads(line) for line in open(prompts) if line.strip()][:limit]
        self.inputs, self.targets, self.firsts = [], [], []
        for fact in facts:
            prompt = tokenizer(fact["prompt"]).input_ids
            target = tokenizer(" " + fact["target"], add_special_tokens=False).input_ids
            self.inputs.append(prompt + target[:-1])
            self.targets.append(torch.tensor(target))
            self.firsts.append(len(prompt) - 1)
        self.tokens = sum(map(len, self.inputs))

    def rows(self, prompt):
        return range(self.firsts[prompt], self.firsts[prompt] + len(self.targets[prompt]))

    def batches(self):
        """Prompts by length, in batches, so that little is padded."""
        by_length = sorted(range(len(self.inputs)), key=lambda prompt: len(self.inputs[prompt]))
        return [by_length[at:at + BATCH] for at in range(0, len(by_length), BATCH)]

    def padded(self, batch):
        """Padded on the right, where a causal model does not see it: ids and mask."""
        longest = max(len(self.inputs[prompt]) for prompt in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, :len(self.inputs[prompt])] = torch.tensor(self.inputs[prompt])
            mask[row, :len(self.inputs[prompt])] = 1
        return ids, mask

    def score(self, prompt, logits):
        """From the logits of the prompt's rows."""
        chosen = torch.log_softmax(logits, -1).gather(1, self.targets[prompt][:, None])
        return float(chosen.sum())


def causal_lm(folder, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


def transformers_batched(work, dtype=torch.float32):
    """Hand-written: batches sorted by length, a hook per layer, the head on the scored rows alone."""
    model = causal_lm(work.folder, dtype)

    def run(condition):
        handles = []
        for layer, neurons in condition.items():
            def zero(_, args, neurons=torch.tensor(neurons)):
                post = args[0]
                post[..., neurons] = 0.0
                return (post,)
            handles.append(model.model.layers[layer].mlp.down_proj.register_forward_pre_hook(zero))
        scores = np.zeros(len(work.inputs))
        for batch in work.batches():
            ids, mask = work.padded(batch)
            hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            rows = torch.cat([hidden[row, list(work.rows(prompt))] for row, prompt in enumerate(batch)])
            logits = model.lm_head(rows)
            at = 0
            for prompt in batch:
                length = len(work.targets[prompt])
                scores[prompt] = work.score(prompt, logits[at:at + length])
                at += length
        for handle in handles:
            handle.remove()
        return scores
    return run


def float64(work):
    """The same in double precision: what all are compared with."""
    return transformers_batched(work, torch.float64)


def bridge(folder):
    from transformer_lens.model_bridge import TransformerBridge
    return TransformerBridge.boot_transformers(str(folder), dtype=torch.float32)


def post_of(layer):
    return f"blocks.{layer}.mlp.out.hook_in"


def hook_per_layer(condition):
    def zero(post, hook, neurons):
        post[..., neurons] = 0.0
        return post
    return [(post_of(layer), lambda post, hook, neurons=torch.tensor(neurons): zero(post, hook, neurons))
            for layer, neurons in condition.items()]


def hook_per_neuron(condition):
    def zero(post, hook, neuron):
        post[..., neuron] = 0.0
        return post
    return [(post_of(layer), lambda post, hook, neuron=neuron: zero(post, hook, neuron))
            for layer, neurons in condition.items() for neuron in neurons]


def lens_single(work, hooks=hook_per_layer):
    """TransformerLens, one prompt at a time."""
    model = bridge(work.folder)

    def run(condition):
        fwd_hooks, scores = hooks(condition), np.zeros(len(work.inputs))
        for prompt, ids in enumerate(work.inputs):
            logits = model.run_with_hooks(torch.tensor([ids]), return_type="logits", fwd_hooks=fwd_hooks)
            scores[prompt] = work.score(prompt, logits[0, list(work.rows(prompt))])
        return scores
    return run


def lens_per_neuron(work):
    """The same with one hook for each neuron, as the paper's code does."""
    return lens_single(work, hook_per_neuron)


def lens_batched(work):
    """TransformerLens in batches of 64, sorted by length."""
    model = bridge(work.folder)

    def run(condition):
        fwd_hooks, scores = hook_per_layer(condition), np.zeros(len(work.inputs))
        for batch in work.batches():
            ids, mask = work.padded(batch)
            logits = model.run_with_hooks(ids, attention_mask=mask, return_type="logits", fwd_hooks=fwd_hooks)
            for row, prompt in enumerate(batch):
                scores[prompt] = work.score(prompt, logits[row, list(work.rows(prompt))])
        return scores
    return run


def products(work):
    """The matrix products of a pass alone, in chunks of 512 tokens: no peer, but the floor."""
    config = causal_lm(work.folder).config
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    queries, keys = heads * width, config.num_key_value_heads * width
    d, mlp = config.hidden_size, config.intermediate_size
    shapes = [(d, queries), (d, keys), (d, keys), (queries, d), (d, mlp), (d, mlp), (mlp, d)]
    layers = [[torch.randn(out, inner) for inner, out in shapes] for _ in range(config.num_hidden_layers)]
    head = torch.randn(config.vocab_size, d)
    inputs = {inner: torch.randn(512, inner) for inner, _ in shapes}

    def run(_):
        for first in range(0, work.tokens, 512):
            rows = min(512, work.tokens - first)
            for layer in layers:
                for weight in layer:
                    inputs[weight.shape[1]][:rows] @ weight.T
        scored = sum(len(target) for target in work.targets)
        for first in range(0, scored, 512):
            inputs[d][:min(512, scored - first)] @ head.T
        return np.zeros(len(work.inputs))
    return run


WAYS = {
    "one hook per neuron": lens_per_neuron,
    "TransformerLens, single": lens_single,
    "TransformerLens, batched": lens_batched,
    "transformers, batched": transformers_batched,
    "products alone, torch": products,
    "float64": float64,
}


@torch.no_grad()
def measure(way, work, condition):
    """Seconds and scores under a condition, after a short warm-up."""
    run = WAYS[way](work)
    inputs, work.inputs = work.inputs, work.inputs[:2]
    run(condition)
    work.inputs = inputs
    start = time.perf_counter()
    scores = run(condition)
    return time.perf_counter() - start, scores


def export(gguf, folder):
    gguf = Path(gguf)
    place = dict(pretrained_model_name_or_path=gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32)
    del loaded.config.quantization_config
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.float().save_pretrained(folder)
    AutoTokenizer.from_pretrained(**place).save_pretrained(folder)


def main():
    if sys.argv[1] == "export":
        return export(*sys.argv[2:])
    job = json.load(open(sys.argv[1]))
    work = Work(job["folder"], job["prompts"], job["limit"])
    condition = {int(layer): neurons for layer, neurons in job["condition"].items()}
    seconds, scores = measure(job["way"], work, condition)
    print(json.dumps(dict(seconds=seconds, tokens=work.tokens, scores=scores.tolist())))


if __name__ == "__main__":
    main()

"""Running a model and catching its insides: every tensor of a golden file."""

from contextlib import contextmanager

import numpy as np
import torch

from families import family_of

TOP = 16  # how many of the most probable tokens are stored
SITES_RESID = ["hook_resid_pre", "hook_resid_mid", "hook_resid_post"]
SITES_OUT = ["hook_attn_out", "hook_mlp_out"]
SITES_MLP = ["mlp.hook_pre", "mlp.hook_pre_linear", "mlp.hook_post"]


class Capture:
    """Forward hooks that keep every site of a run, named as in TransformerLens, and that can
    edit neurons (`hook_post`) at every position."""

    def __init__(self, model):
        self.model = model
        self.family = family_of(model.config)
        self.sites = {}
        self.edits = {}  # layer -> (neurons, function of post, gate and up)
        self.handles = []

    def keep(self, name, value):
        self.sites[name] = value[0].detach().clone()  # drops the batch of one

    def on_input(self, module, name):
        self.handles.append(module.register_forward_pre_hook(
            lambda _, args: self.keep(name, args[0])))

    def on_output(self, module, name):
        self.handles.append(module.register_forward_hook(
            lambda _m, _a, out: self.keep(name, out[0] if isinstance(out, tuple) else out)))

    def on_halves(self, module, first, second):
        def hook(_m, _a, out):
            a, b = out.chunk(2, dim=-1)
            self.keep(first, a)
            self.keep(second, b)
        self.handles.append(module.register_forward_hook(hook))

    def edit(self, layer):
        def hook(_, args):
            x = args[0].clone()
            neurons, value = self.edits.get(layer, ([], zero))
            gate, up = (self.sites[f"blocks.{layer}.{site}"] for site in SITES_MLP[:2])
            x[..., neurons] = value(x[..., neurons], gate[:, neurons], up[:, neurons])
            return (x,)
        return hook

    def hook_layer(self, i, block):
        b, mlp = f"blocks.{i}", block.mlp
        self.handles.append(mlp.down_proj.register_forward_pre_hook(self.edit(i)))
        self.on_input(block, f"{b}.hook_resid_pre")
        self.on_output(block, f"{b}.hook_resid_post")
        if self.family.fused:
            self.on_halves(mlp.gate_up_proj, f"{b}.mlp.hook_pre", f"{b}.mlp.hook_pre_linear")
        else:
            self.on_output(mlp.gate_proj, f"{b}.mlp.hook_pre")
            self.on_output(mlp.up_proj, f"{b}.mlp.hook_pre_linear")
        self.on_input(mlp.down_proj, f"{b}.mlp.hook_post")
        self.on_input(getattr(block, self.family.resid_mid), f"{b}.hook_resid_mid")
        self.on_output(getattr(block, self.family.attn_out), f"{b}.hook_attn_out")
        self.on_output(getattr(block, self.family.mlp_out), f"{b}.hook_mlp_out")

    @contextmanager
    def hooked(self):
        for i, block in enumerate(self.model.model.layers):
            self.hook_layer(i, block)
        self.on_input(self.model.model.norm, "ln_final.input")
        try:
            yield
        finally:
            for h in self.handles:
                h.remove()
            self.handles = []

    def run(self, ids, positions, edits=None):
        """Runs the prompt; returns log-probabilities [k, vocab] in float64."""
        self.sites = {}
        self.edits = edits or {}
        with self.hooked():
            hidden = self.model.model(torch.tensor([ids]), use_cache=False).last_hidden_state
        for i in range(self.model.config.num_hidden_layers):
            s = {k: self.sites[f"blocks.{i}.hook_{k}"]
                 for k in ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")}
            assert torch.equal(s["resid_pre"] + s["attn_out"], s["resid_mid"])
            assert torch.equal(s["resid_mid"] + s["mlp_out"], s["resid_post"])
        return torch.log_softmax(logits_of(self.model, hidden[0, positions]).double(), dim=-1)

    def final_scale(self, positions):
        """What the final norm divides by."""
        x = self.sites["ln_final.input"][positions]
        if self.family.norms == "layer":
            x, eps = x - x.mean(-1, keepdim=True), 1e-5
        else:
            eps = self.model.config.rms_norm_eps
        return (x.pow(2).mean(-1) + eps).sqrt()


def logits_of(model, hidden):
    logits = model.lm_head(hidden)
    cap = getattr(model.config, "final_logit_softcapping", None)
    return logits if cap is None else torch.tanh(logits / cap) * cap


def all_logprobs(model, ids):
    """[tokens, vocab] in float64, by transformers' own head."""
    logits = model(torch.tensor([ids]), use_cache=False).logits[0]
    return torch.log_softmax(logits.double(), dim=-1)


def greedy(model, ids, count=8, margin=1e-3):
    """The tokens of a greedy continuation; no step may be nearly a tie, and the same steps with
    a cache must choose the same tokens."""
    found, cached = [], model(torch.tensor([ids]), use_cache=True)
    for _ in range(count):
        logits = model(torch.tensor([ids + found]), use_cache=False).logits[0, -1]
        best, second = logits.topk(2).values.tolist()
        assert best - second > margin, (best - second, "another seed is needed")
        found.append(int(logits.argmax()))
        assert found[-1] == int(cached.logits[0, -1].argmax())
        cached = model(torch.tensor([found[-1:]]), past_key_values=cached.past_key_values,
                       use_cache=True)
    return found


def top(logprobs):
    """The TOP most probable tokens; of equal ones the lower id first."""
    values, ids = torch.sort(logprobs, dim=-1, descending=True, stable=True)
    return ids[:, :TOP], values[:, :TOP].float()


def zero(post, gate, up):
    return torch.zeros_like(post)


CLAMP = 0.05


def clamp(post, gate, up):
    return post.clamp(max=CLAMP)


def sign_case(gate, up):
    """0 to 3: gate and up positive, gate alone, up alone, neither; 4 where one of them is 0."""
    case = 2 * (gate < 0).long() + (up < 0).long()
    return torch.where((gate == 0) | (up == 0), 4, case)


class Means:
    """The means of some neurons of a layer: over all tokens, and over those of each sign case."""

    def __init__(self):
        self.rows = []  # of (post, gate, up), each [tokens, neurons]

    def add(self, *rows):
        self.rows.append([r.double() for r in rows])

    def values(self):
        """[neurons, 5]: the mean over all tokens, then by sign case; nan for a case never seen."""
        post, gate, up = (torch.cat(rows) for rows in zip(*self.rows))
        case = sign_case(gate, up)
        by_case = [torch.where(case == c, post, 0).sum(0) / (case == c).sum(0) for c in range(4)]
        return torch.stack([post.mean(0), *by_case], dim=1)

    def overall(self, post, gate, up):
        return self.values()[:, 0].float().expand_as(post)

    def by_sign(self, post, gate, up):
        values = torch.cat([self.values(), torch.full((post.shape[-1], 1), torch.nan)], dim=1)
        mean = values[:, 1:].T.gather(0, sign_case(gate, up)).float()
        return torch.where(mean.isnan(), post[0], mean)[None]


def golden_edits(capture, prompts, positions_of, vocab_ids, ablated):
    """Clamp, mean and mean per sign case; the means are over all tokens of all prompts."""
    means = {layer: Means() for layer in ablated}
    for ids in prompts:
        capture.run(ids, [0])
        for layer, neurons in ablated.items():
            gate, up, post = (capture.sites[f"blocks.{layer}.{site}"][:, neurons]
                              for site in SITES_MLP)
            means[layer].add(post, gate, up)
    values = [means[layer].values() for layer in sorted(ablated)]
    out = {"ablation.means": torch.cat(values).float()}
    modes = {"clamp": lambda layer: clamp,
             "mean": lambda layer: means[layer].overall,
             "mean-sign": lambda layer: means[layer].by_sign}
    for p, ids in enumerate(prompts):
        for mode, of in modes.items():
            edits = {layer: (neurons, of(layer)) for layer, neurons in ablated.items()}
            logprobs = capture.run(ids, positions_of(len(ids)), edits)
            out[f"p{p}.{mode}.logprobs"] = logprobs[:, vocab_ids].float()
            out[f"p{p}.{mode}.top_ids"], out[f"p{p}.{mode}.top_logprobs"] = top(logprobs)
    return out


def golden_tensors(model, prompts, positions_of, vocab_ids, neurons, resid_at, inside_at,
                   inside_layers, resid_layers=None, edits=False):
    """Every golden tensor of one model.

    prompts       lists of token ids
    positions_of  length of a prompt -> the positions to store
    neurons       [n, 2] (layer, neuron) to zero together in the ablated runs
    resid_at      {prompt: positions} where the residual stream is stored
    resid_layers  layers for which it is (None: all)
    inside_at     prompts for which MLP and sublayer outputs are stored
    inside_layers layers for which they are
    edits         whether there are runs under other edits than zero
    """
    capture = Capture(model)
    ablated = {int(layer): neurons[neurons[:, 0] == layer, 1] for layer in set(neurons[:, 0])}
    out = {"vocab_ids": torch.tensor(vocab_ids), "ablation.neurons": torch.from_numpy(neurons)}
    for p, ids in enumerate(prompts):
        positions = positions_of(len(ids))
        logprobs = capture.run(ids, positions)
        out[f"p{p}.ids"] = torch.tensor(ids)
        out[f"p{p}.positions"] = torch.tensor(positions)
        out[f"p{p}.logprobs"] = logprobs[:, vocab_ids].float()
        out[f"p{p}.top_ids"], out[f"p{p}.top_logprobs"] = top(logprobs)
        out[f"p{p}.entropy"] = -(logprobs.exp() * logprobs).sum(-1).float()
        out[f"p{p}.ln_final.hook_scale"] = capture.final_scale(positions)
        for i in range(model.config.num_hidden_layers):
            b = f"blocks.{i}"
            if p in resid_at and (resid_layers is None or i in resid_layers):
                for site in SITES_RESID:
                    out[f"p{p}.{b}.{site}"] = capture.sites[f"{b}.{site}"][resid_at[p]]
            if p in inside_at and i in inside_layers:
                for site in SITES_MLP + SITES_OUT:
                    out[f"p{p}.{b}.{site}"] = capture.sites[f"{b}.{site}"][positions]

        edits_to_zero = {layer: (of_layer, zero) for layer, of_layer in ablated.items()}
        logprobs = capture.run(ids, positions, edits_to_zero)
        out[f"p{p}.ablated.logprobs"] = logprobs[:, vocab_ids].float()
        out[f"p{p}.ablated.top_ids"], out[f"p{p}.ablated.top_logprobs"] = top(logprobs)
    if edits:
        out |= golden_edits(capture, prompts, positions_of, vocab_ids, ablated)
    return out


def pick_neurons(layers, count, d_mlp):
    rng = np.random.default_rng(0)
    pairs = [(layer, n) for layer in layers
             for n in sorted(rng.choice(d_mlp, count, replace=False).tolist())]
    return np.array(pairs, dtype=np.int64)

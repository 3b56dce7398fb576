"""What torch's automatic differentiation says of neurons: gradients with respect to `hook_post`.

The number is the sum over the stored positions of the log-probability of the most probable next token. In float64 (but for
the inside of some norms, which transformers computes in float32): in float32 torch itself is up to 2e-4 of a prompt's gradients away
from that on SmolLM2, whose first token has very large activations.
"""

import torch

from capture import logits_of
from direct import gain, scale_of
from families import family_of


def of_logits(logits):
    """The number, from `[k, vocab]`."""
    logprobs = torch.log_softmax(logits, dim=-1)
    return logprobs.max(dim=-1).values.sum()


class Posts:
    """Keeps the input of every `down_proj`, with its gradient."""

    def __init__(self, model):
        self.kept = {}
        self.handles = [block.mlp.down_proj.register_forward_pre_hook(self.keep(i))
                        for i, block in enumerate(model.model.layers)]

    def keep(self, layer):
        def hook(_, args):
            args[0].retain_grad()
            self.kept[layer] = args[0]
        return hook

    def close(self):
        for handle in self.handles:
            handle.remove()


def total(model, ids, positions):
    """{layer: [tokens, d_mlp]}."""
    posts = Posts(model)
    with torch.enable_grad():
        embedded = model.model.embed_tokens(torch.tensor([ids])).detach().requires_grad_()
        hidden = model.model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        of_logits(logits_of(model, hidden[0, positions])).backward()
    posts.close()
    return {layer: post.grad[0] for layer, post in posts.kept.items()}


def direct(model, ids, positions):
    """The same where posts reach the final norm alone, and every norm keeps its scale: {layer: [k, d_mlp]}."""
    family = family_of(model.config)
    eps = 1e-5 if family.norms == "layer" else model.config.rms_norm_eps
    kept = {}
    handles = [model.model.norm.register_forward_pre_hook(
        lambda _, args: kept.update(residual=args[0][0, positions]))]
    for i, block in enumerate(model.model.layers):
        handles.append(block.mlp.down_proj.register_forward_hook(
            lambda _m, _a, out, i=i: kept.update({i: out[0, positions]})))
    model.model(torch.tensor([ids]), use_cache=False)
    for handle in handles:
        handle.remove()

    def frozen(x, norm, at):
        if family.norms == "layer":
            x = x - x.mean(-1, keepdim=True)
        return x / scale_of(at, family, eps) * gain(norm, family)

    found = {}
    for i, block in enumerate(model.model.layers):
        with torch.enable_grad():
            post = torch.zeros(len(positions), block.mlp.down_proj.in_features,
                               dtype=kept[i].dtype, requires_grad=True)
            written = block.mlp.down_proj(post)
            if family.mlp_out != "mlp":  # there is a norm after it
                written = frozen(written, getattr(block, family.mlp_out), kept[i])
            residual = kept["residual"]
            normed = frozen(residual + written, model.model.norm, residual)
            of_logits(logits_of(model, normed)).backward()
        found[i] = post.grad
    return found


def gradient_tensors(model, stored):
    """For the prompts, positions and neurons of a golden file's tensors: `[k, n]`."""
    model.double()
    neurons = stored["ablation.neurons"].tolist()
    out, p = {}, 0
    while f"p{p}.ids" in stored:
        ids, positions = stored[f"p{p}.ids"].tolist(), stored[f"p{p}.positions"].tolist()
        by_all, straight = total(model, ids, positions), direct(model, ids, positions)
        out[f"p{p}.gradient"] = torch.stack([by_all[l][positions, n] for l, n in neurons], dim=1).float()
        out[f"p{p}.gradient.direct"] = torch.stack([straight[l][:, n] for l, n in neurons], dim=1).float()
        p += 1
    model.float()
    return out

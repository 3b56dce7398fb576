"""The direct effect of ablated neurons, on transformers' own modules.

The plain run gives the residual before the final norm and the input of every `down_proj`. What the neurons write there (a norm
after the MLP divides it as it does in the plain run) is taken out before the final norm, and no layer runs again.
"""

import torch

from capture import Capture, logits_of, top


def gain(norm, family):
    """What a norm multiplies by, after its division."""
    weight = getattr(norm, "weight", None)
    return 1.0 if weight is None else weight + family.gain_offset


def divided(change, norm, family, scale):
    """A change of a norm's input, through the norm with its scale kept."""
    if family.norms == "layer":
        change = change - change.mean(-1, keepdim=True)
    return change / scale * gain(norm, family)


def scale_of(x, family, eps):
    if family.norms == "layer":
        x = x - x.mean(-1, keepdim=True)
    return (x.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def direct_logprobs(model, ids, positions, ablated, frozen):
    """[k, vocab] in float64; `ablated` has the neurons of each layer."""
    capture = Capture(model)
    capture.run(ids, positions)
    family = capture.family
    eps = 1e-5 if family.norms == "layer" else model.config.rms_norm_eps
    residual = capture.sites["ln_final.input"][positions]
    change = torch.zeros_like(residual)
    for layer, neurons in ablated.items():
        block = model.model.layers[layer]
        post = capture.sites[f"blocks.{layer}.mlp.hook_post"][positions]
        edited = post.clone()
        edited[:, neurons] = 0
        down = block.mlp.down_proj
        written = down(edited - post)
        if family.mlp_out != "mlp":  # there is a norm after it
            norm = getattr(block, family.mlp_out)
            written = divided(written, norm, family, scale_of(down(post), family, eps))
        change += written
    norm = model.model.norm
    if frozen:
        normed = norm(residual) + divided(change, norm, family, scale_of(residual, family, eps))
    else:
        normed = norm(residual + change)
    return torch.log_softmax(logits_of(model, normed).double(), dim=-1)


def direct_tensors(model, stored):
    """For the prompts, positions and neurons of a golden file's tensors."""
    neurons = stored["ablation.neurons"]
    ablated = {layer: neurons[neurons[:, 0] == layer, 1] for layer in sorted(set(neurons[:, 0].tolist()))}
    out, p = {}, 0
    while f"p{p}.ids" in stored:
        ids, positions = stored[f"p{p}.ids"].tolist(), stored[f"p{p}.positions"].tolist()
        for path, frozen in (("direct", False), ("direct-frozen-norm", True)):
            logprobs = direct_logprobs(model, ids, positions, ablated, frozen)
            key = f"p{p}.{path}"
            out[f"{key}.logprobs"] = logprobs[:, stored["vocab_ids"]].float()
            out[f"{key}.top_ids"], out[f"{key}.top_logprobs"] = top(logprobs)
        p += 1
    return out

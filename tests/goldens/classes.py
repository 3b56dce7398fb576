"""Classes of gated neurons, by the cosines between their three weight vectors."""

import numpy as np
import torch

from families import family_of

CLASSES = {  # (a(in_out), |a(gate_out)|, typical)
    (1, 1, True): "enrichment",
    (1, 1, False): "atypical-enrichment",
    (1, 0, True): "conditional-enrichment",
    (1, 0, False): "atypical-conditional-enrichment",
    (0, 1, True): "proportional-change",
    (0, 1, False): "atypical-proportional-change",
    (0, 0, True): "orthogonal-output",
    (-1, 1, True): "depletion",
    (-1, 1, False): "atypical-depletion",
    (-1, 0, True): "conditional-depletion",
    (-1, 0, False): "atypical-conditional-depletion",
}
THRESHOLD = 0.5


def weights(block, fused):
    """w_gate, w_in and w_out of a layer's neurons, each [d_mlp, d_model] in float64."""
    mlp = block.mlp
    if fused:
        gate, up = mlp.gate_up_proj.weight.double().chunk(2)
    else:
        gate, up = mlp.gate_proj.weight.double(), mlp.up_proj.weight.double()
    return gate, up, mlp.down_proj.weight.double().T


def cosines(model, layer, fold):
    """[d_mlp, 3] in float64: cos(w_gate, w_in), cos(w_gate, w_out), cos(w_in, w_out).

    fold "none": the raw weights; "pre": w_gate and w_in times the gain of the norm before the
    MLP (OLMo's has no gain: w_in and w_out centred, w_gate not; OLMo 2 has no such norm);
    "pre+post": besides, w_out times the gain of the norm after the MLP (if there is one).
    """
    family, block = family_of(model.config), model.model.layers[layer]
    gate, up, down = weights(block, family.fused)

    def gain(name):
        return family.gain_offset + getattr(block, name).weight.double()

    if fold in ("pre", "pre+post"):
        if family.norms == "layer":
            up, down = (w - w.mean(1, keepdim=True) for w in (up, down))
        elif family.resid_mid != "mlp":
            gate, up = gate * gain(family.resid_mid), up * gain(family.resid_mid)
    if fold == "pre+post" and family.mlp_out != "mlp":
        down = down * gain(family.mlp_out)

    def cos(a, b):
        return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))

    return torch.stack([cos(gate, up), cos(gate, down), cos(up, down)], dim=1).numpy()


def classify(cos, threshold=THRESHOLD):
    """The class of one neuron from its three cosines."""
    gate_in, gate_out, in_out = (int(c > threshold) - int(c < -threshold) for c in cos)
    typical = (in_out == 0 and gate_out == 0) or gate_in == in_out * gate_out
    return CLASSES[(in_out, abs(gate_out), typical)]


def class_counts(model, fold):
    layers = [cosines(model, i, fold) for i in range(model.config.num_hidden_layers)]
    names = list(CLASSES.values())
    by_layer = []
    for layer in layers:
        found = [classify(c) for c in layer]
        by_layer.append([found.count(n) for n in names])
    total = np.sum(by_layer, axis=0).tolist()
    nearest = float(np.abs(np.abs(np.stack(layers)) - THRESHOLD).min())
    return {"total": dict(zip(names, total)), "by_layer": by_layer,
            "nearest_cosine_to_threshold": nearest}

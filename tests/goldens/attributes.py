"""The attribute rate of the real models, as the papers define it: the oracle of `attributes.json`."""

import hashlib
from pathlib import Path

import torch

from capture import Capture, pick_neurons, zero
from common import versions_of_numbers, write_json

STOP_WORDS = Path(__file__).parents[2] / "prompts" / "stop_words.txt"
TOP = 50
PROMPTS = [
    ("The capital of France", "France"),
    ("The birthplace of Albert Einstein", "Albert Einstein"),
    ("People say that Mount Fuji", "Mount Fuji"),
]
TEXTS = {
    "France": "France is a country of western Europe; Paris, on the river Seine, is its capital. The French "
              "speak French. It borders Spain, Italy, Germany and Belgium. \u201cLibert\u00e9\u201d is a word of its "
              "motto, and the Eiffel Tower its best-known sight. Its wine, its cheese and its football "
              "team are known everywhere, and Emmanuel Macron became its president in 2017.",
    "Albert Einstein": "Albert Einstein was a German physicist who was born in Ulm. He developed the theory "
                       "of relativity, won the Nobel Prize in Physics in 1921, and was a famous scientist and "
                       "professor in Zurich, Prague, Berlin and Princeton. His biographers tell that he played "
                       "the violin.",
    "Mount Fuji": "Mount Fuji is a volcano on the island of Honshu, the highest mountain of Japan. It stands "
                  "near Tokyo, in the prefectures Shizuoka and Yamanashi. Tourists climb to its summit, and "
                  "painters such as Hokusai painted it.",
}


def stop_words():
    lines = STOP_WORDS.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


class Words:
    def __init__(self, tokenizer, vocab_size):
        self.stop = stop_words()
        self.tokenizer = tokenizer
        self.of = [self.word(i) for i in range(vocab_size)]

    def word(self, i):
        """What counts of a token; None if it is dropped."""
        # Behind a letter, since some decoders strip the first space of a text.
        first = self.tokenizer.encode("a", add_special_tokens=False).ids[0]
        text = self.tokenizer.decode([first, i], skip_special_tokens=False)[1:].strip()
        word = text.lower()
        if len(text) <= 2 or "\ufffd" in text or word.replace("\u2019", "'") in self.stop:
            return None
        return word

    def of_text(self, text):
        ids = [self.tokenizer.encode(t, add_special_tokens=False).ids for t in (text, " " + text)]
        return {self.of[i] for i in sum(ids, [])} - {None}


def rate(scores, order, words, about):
    """Of one rate: the tokens kept, those of them that the text has, and how far the last of the TOP is
    ahead of the next, in units of the largest score: where that is tiny, another order of summing may
    take the next one instead."""
    values, ids = torch.sort(scores, descending=True, stable=True)
    if order == "filter-first":
        kept = torch.tensor([words.of[i] is not None for i in ids.tolist()])
        values, ids = values[kept], ids[kept]
    kept = [words.of[i] for i in ids[:TOP].tolist() if words.of[i] is not None]
    gap = (values[TOP - 1] - values[TOP]) / scores.abs().max()
    return len(kept), sum(word in about for word in kept), float(f"{gap:.1e}")


def rates(model, tokenizer, bos, neurons):
    """{"subject, arm, lens, order": [kept, hits, gap], each by layer}."""
    capture = Capture(model)
    edits = {layer: (neurons[neurons[:, 0] == layer, 1], zero)
             for layer in set(neurons[:, 0].tolist())}
    words = Words(tokenizer, model.config.vocab_size)
    head = model.lm_head.weight.double()
    found = {}
    for prompt, subject in PROMPTS:
        about = words.of_text(TEXTS[subject])
        ids = bos + tokenizer.encode(prompt, add_special_tokens=False).ids
        for arm, edit in (("clean", {}), ("class", edits)):
            capture.run(ids, [0], edit)
            for layer in range(model.config.num_hidden_layers):
                row = capture.sites[f"blocks.{layer}.hook_resid_post"][-1]
                for lens, x in (("raw", row), ("final-norm", model.model.norm(row))):
                    scores = head @ x.double()
                    for order in ("top-first", "filter-first"):
                        key = f"{subject}, {arm}, {lens}, {order}"
                        found.setdefault(key, []).append(rate(scores, order, words, about))
    return {key: list(zip(*layers)) for key, layers in found.items()}


def write_attributes(models, out):
    """`models` by alias: (model, tokenizer, bos, layers whose neurons are ablated)."""
    result = {"versions": versions_of_numbers(), "top": TOP,
              "stop_words_sha256": hashlib.sha256(STOP_WORDS.read_bytes()).hexdigest(),
              "prompts": [{"prompt": p, "subject": s, "text": TEXTS[s]} for p, s in PROMPTS],
              "models": {}}
    for alias, (model, tokenizer, bos, layers) in models.items():
        neurons = pick_neurons(layers, 400, model.config.intermediate_size)
        by_layer = {layer: neurons[neurons[:, 0] == layer, 1].tolist() for layer in layers}
        result["models"][alias] = {"neurons": by_layer,
                                   "rates": rates(model, tokenizer, bos, neurons)}
    write_json(out / "attributes.json", result)

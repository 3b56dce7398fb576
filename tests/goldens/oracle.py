"""llama.cpp, through the HTTP server inside the xllamacpp wheel: the oracle for token ids, and
the second opinion on the goldens."""

import json
import tempfile
import urllib.request
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import versions, write_json
from gguf_files import resave_f32
from variants import VARIANTS
from vocabularies import STRINGS, gemma3_tokenizer, smollm2_tokenizer


class LlamaCpp:
    def __init__(self, path):
        import xllamacpp
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = 1024
        params.n_gpu_layers = 0
        params.warmup = False
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
        params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(params)

    def post(self, route, body):
        request = urllib.request.Request(self.server.listening_address + route,
                                         json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        return json.load(urllib.request.urlopen(request))

    def tokenize(self, text, special, parse):
        return self.post("/tokenize", {"content": text, "add_special": special,
                                       "parse_special": parse})["tokens"]

    def next_logprobs(self, ids, n):
        """{token: logprob} of the n most probable tokens after `ids`; None where the server
        tells nothing, as after a token that ends inside a UTF-8 character."""
        r = self.post("/completion", {"prompt": ids, "n_predict": 1, "n_probs": n,
                                      "temperature": 0.0, "cache_prompt": False})
        if "completion_probabilities" not in r:
            return None
        return {t["id"]: t["logprob"] for t in r["completion_probabilities"][0]["top_logprobs"]}


WHY = {  # what is behind the differences that are known
    ("smollm2-135m", "½ cup, x² + ٣٤ and Ⅷ"):
        "transformers' GGUF loader leaves out the splitting of single digits (any \\p{N}) that "
        "the model's own tokenizer and llama.cpp's pre-tokenizer `smollm` do.",
    ("gemma3-270m", " " * 33 + "x"):
        "transformers' GGUF loader builds runs of spaces by low-ranking merges; the longest run "
        "first (31, then 2) is what llama.cpp and SentencePiece do.",
    ("gemma3-270m", "literal ▁▁ blocks"):
        "In the GGUF token 138 is two ASCII spaces, so literal U+2581 never match it; elsewhere "
        "it is two U+2581 and they do, before or after spaces have become U+2581.",
}


def note(alias, text, llama_cpp, others):
    """What to say of a string on which the oracles differ."""
    differing = {n: ids for n, ids in others.items() if ids != llama_cpp}
    said = "; ".join(f"{n} gives {ids}" for n, ids in differing.items())
    return f"ids are llama.cpp's; {said}. {WHY.get((alias, text), '')}".strip()


def tokenizers_(args):
    from transformers import AutoTokenizer
    result = {
        "versions": versions(),
        "fields": {
            "ids": "no BOS; the text of special tokens becomes those tokens",
            "ids_with_special": "as ids, with the BOS where the model adds one",
            "ids_special_as_text": "only where it differs from ids: special tokens' text is "
                                   "plain text (llama.cpp's parse_special=false)",
        },
        "models": {},
    }
    for alias, path, hand in (
            ("smollm2-135m", args.smollm2, {"by_hand": smollm2_tokenizer(args.smollm2)}),
            ("gemma3-270m", args.gemma3,
             {"by_hand": gemma3_tokenizer(args.gemma3),
              "by_hand_merged_spaces": gemma3_tokenizer(args.gemma3, "merged")})):
        server = LlamaCpp(path)
        hf = AutoTokenizer.from_pretrained(str(Path(path).parent), gguf_file=Path(path).name)
        rows = []
        for text in STRINGS:
            row = {"text": text, "ids": server.tokenize(text, False, True),
                   "ids_with_special": server.tokenize(text, True, True)}
            as_text = server.tokenize(text, False, False)
            if as_text != row["ids"]:
                row["ids_special_as_text"] = as_text
            others = {n: t.encode(text, add_special_tokens=False).ids for n, t in hand.items()}
            others["transformers"] = hf(text, add_special_tokens=False).input_ids
            with_special = {n: t.encode(text).ids for n, t in hand.items()}
            with_special["transformers"] = hf(text).input_ids
            for n, ids in with_special.items():
                assert ids == [2] * (alias[0] == "g") + others[n], (n, text)
            if any(ids != row["ids"] for ids in others.values()):
                row["note"] = note(alias, text, row["ids"], others)
                print(alias, repr(text), row["ids"], row["note"])
            rows.append(row)
        result["models"][alias] = rows
        del server
    write_json(args.out / "tokenizers.json", result)

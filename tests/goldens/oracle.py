"""llama.cpp, through the HTTP server inside the xllamacpp wheel: the oracle for token ids, and
the second opinion on the goldens."""

import json
import tempfile
import unicodedata
import urllib.request
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import versions, write_json
from gguf_files import resave_f32
from variants import VARIANTS
from vocabularies import STRINGS, TOKENIZERS, gemma3_tokenizer


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


def tokenize_all(alias, server, hf, by_hand):
    """A row for every text, noting where the tokenizers differ."""
    rows = []
    for text in STRINGS:
        row = {"text": text, "ids": server.tokenize(text, False, True),
               "ids_with_special": server.tokenize(text, True, True)}
        composed = unicodedata.normalize("NFC", text)
        if alias.startswith("qwen") and composed != text:
            row["ids_composed"] = server.tokenize(composed, False, True)
        as_text = server.tokenize(text, False, False)
        if as_text != row["ids"]:
            row["ids_special_as_text"] = as_text
        others = {n: t.encode(text, add_special_tokens=False).ids for n, t in by_hand.items()}
        others["transformers"] = hf(text, add_special_tokens=False).input_ids
        with_special = {n: t.encode(text).ids for n, t in by_hand.items()}
        with_special["transformers"] = hf(text).input_ids
        for n, ids in with_special.items():
            assert ids == [2] * (alias[0] == "g") + others[n], (n, text)
        if any(ids != row["ids"] for ids in others.values()):
            row["note"] = note(alias, text, row["ids"], others)
            print(alias, repr(text), row["ids"], row["note"])
        rows.append(row)
    return rows


def write_tokenizers(models, out_dir):
    """The rows of these models; those of others stay as they are."""
    path = out_dir / "tokenizers.json"
    result = json.loads(path.read_text()) if path.exists() else {"models": {}}
    result["versions"] = versions()
    result["fields"] = {
        "ids": "no BOS; the text of special tokens becomes those tokens",
        "ids_with_special": "as ids, with the BOS where the model adds one",
        "ids_special_as_text": "only where it differs from ids: special tokens' text is "
                               "plain text (llama.cpp's parse_special=false)",
        "ids_composed": "ids of the text in Unicode's composed form (NFC), which is what the "
                        "model's own tokenizer.json makes of it; llama.cpp does not",
    }
    for alias, gguf_path in models.items():
        by_hand = {"by_hand": TOKENIZERS[alias](gguf_path)}
        if alias == "gemma3-270m":
            by_hand["by_hand_merged_spaces"] = gemma3_tokenizer(gguf_path, "merged")
        server = LlamaCpp(gguf_path)
        hf = AutoTokenizer.from_pretrained(str(Path(gguf_path).parent),
                                           gguf_file=Path(gguf_path).name)
        result["models"][alias] = tokenize_all(alias, server, hf, by_hand)
        del server
    write_json(path, result)


def against_llama_cpp(server, goldens, prompts):
    """The largest difference over the top 16 of every stored position, by prompt."""
    worst, compared = [], 0
    for p, ids in enumerate(prompts):
        differences = [0.0]
        for k, position in enumerate(goldens[f"p{p}.positions"].tolist()):
            got = server.next_logprobs(ids[:position + 1], 310)
            if got is None:
                continue
            compared += 1
            differences += [abs(got.get(i, float("inf")) - lp) for i, lp in zip(
                goldens[f"p{p}.top_ids"][k].tolist(), goldens[f"p{p}.top_logprobs"][k].tolist())]
        worst.append(f"{max(differences):.1e}")
    return f"{worst} over {compared} positions"


def as_gguf_has_it(goldens, prompts):
    """The goldens with what transformers gives without the feature that GGUF, or llama.cpp,
    lacks; only the last prompt is long enough to tell."""
    p = len(prompts) - 1
    logprobs, ids = goldens[f"p{p}.gguf.logprobs"].sort(-1, descending=True)
    return goldens | {f"p{p}.top_ids": ids[:, :16], f"p{p}.top_logprobs": logprobs[:, :16]}


def against_gguf_loader(path, goldens, prompts, scalar):
    """The largest difference of a stored log-probability, by prompt. GGUF has no key for
    `query_pre_attn_scalar`, and the loader takes it to be 256."""
    told = {} if scalar is None else {"query_pre_attn_scalar": scalar}
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="eager",
        **told).eval()
    worst = []
    for p, ids in enumerate(prompts):
        at = goldens[f"p{p}.positions"]
        lp = torch.log_softmax(model(torch.tensor([ids]), use_cache=False).logits[0, at].double(),
                               -1)
        worst.append((lp[:, goldens["vocab_ids"]] - goldens[f"p{p}.logprobs"]).abs().max().item())
    return [f"{w:.1e}" for w in worst]


def check_one(alias, path, goldens_path, variant):
    goldens = load_file(goldens_path)
    prompts = [goldens[f"p{p}.ids"].tolist() for p in range(5) if f"p{p}.ids" in goldens]
    with tempfile.TemporaryDirectory() as tmp:
        f32 = Path(tmp) / "f32.gguf"
        resave_f32(path, f32)
        for file in (f32, path) if variant is None else (path,):
            server = LlamaCpp(file)
            print(alias, "vs llama.cpp on", "float32:" if file == f32 else "the file itself:",
                  against_llama_cpp(server, goldens, prompts))
    if variant is not None:
        if variant.gguf_off:
            print(alias, f"vs llama.cpp, {variant.gguf_off}:",
                  against_llama_cpp(server, as_gguf_has_it(goldens, prompts), prompts))
        tok = Tokenizer.from_file(str(path.parent / "tokenizer.json"))
        differing = [t for t in STRINGS if tok.encode(t).ids != server.tokenize(t, True, True)]
        print(alias, "tokenizer.json vs llama.cpp on model.gguf, differing:", differing)
    del server
    scalar = variant.config.get("query_pre_attn_scalar") if variant is not None else None
    try:
        print(alias, "vs transformers' GGUF loader, max |logprob difference| by prompt:",
              against_gguf_loader(path, goldens, prompts, scalar))
    except Exception as e:  # it needs `accelerate`, and knows few architectures
        print(alias, "transformers' GGUF loader failed:", type(e).__name__, str(e)[:300])


def check_goldens(models, only, out_dir):
    """Holds the goldens against llama.cpp's forward pass and transformers' GGUF loader: of the
    tiny models in `only` (none: all), and of the real ones in `models` ({alias: path})."""
    for alias, variant in VARIANTS.items():
        if variant.gguf and (not only or alias in only):
            check_one(alias, out_dir / alias / "model.gguf", out_dir / f"{alias}.safetensors",
                      variant)
    for alias, path in models.items():
        check_one(alias, Path(path), out_dir / f"{alias}.safetensors", None)

"""Decomposed, composed and otherwise normalized strings: token ids and the subject's tokens, by transformers.

    pip install transformers==5.15.1 tokenizers==0.22.1
    python normalizers.py                 # writes normalizers.json beside it

Each row is a prompt with its subject in a known place, encoded by one of the tokenizers below; `subject` is how the
prompt file writes it (with other compositions than the prompt has, in every second row), `span` the tokens that overlap
it by the offsets that transformers gives.
"""

import json
import unicodedata
from pathlib import Path

import tokenizers
import transformers

HERE = Path(__file__).parent
SPACE = "\u2581"

# (normalizer, pre-tokenizer or None for the byte-level one of tiny-llama)
STEPS = {
    "nfc": {"type": "NFC"},
    "nfd": {"type": "NFD"},
    "nfkc": {"type": "NFKC"},
    "nfc-lowercase": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    "strip-accents": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]},
    "replace": {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Replace", "pattern": {"String": "the"}, "content": ""}]},
    "strip": {"type": "Sequence", "normalizers": [
        {"type": "NFC"}, {"type": "Strip", "strip_left": True, "strip_right": True}]},
    "bert": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
             "strip_accents": None, "lowercase": False},
}
PREPENDED = {"type": "Sequence", "normalizers": [
    {"type": "NFKC"}, {"type": "Prepend", "prepend": SPACE},
    {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]}
METASPACE = {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": "always", "split": True}

# Words as a keyboard gives them; the prompt has them decomposed.
SUBJECTS = [
    "Hà Nội", "Đà Nẵng", "Huế", "Việt Nam", "Nguyễn Văn Thiệu",      # Vietnamese
    "서울", "한국", "김대중", "부산광역시",                              # Korean, as macOS file names have it
    "café", "Orléans", "Köln", "Łódź", "São Paulo", "Ångström", "Žižek", "Dvořák", "Brâncuși",
    "Ελλάδα", "Йошкар-Ола", "Ёлкино", "ガダルカナル", "ポーランド", "हिन्दी", "Ṩṩ",
]
LIGATURES = ["Sheﬃeld", "ﬁnance", "Å Station", "①②③", "Ⅷ Legion"]
FRAMES = ["In the end {} is", "The fine old {}, they say, is", "Zoe\u0301 saw {} in"]


def tokenizer(name):
    spec = json.loads((HERE / "tiny-llama/tokenizer.json").read_text())
    if name in STEPS:
        spec["normalizer"] = STEPS[name]
        return spec
    letters = SPACE + "abcdefghijklmnopqrstuvwxyzTIZHVNS,.é"
    tokens = ["<s>", "</s>", "<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + list(letters)
    tokens += ["in", SPACE + "i", "is", SPACE + "is", SPACE + SPACE]
    spec["model"] = {
        "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
        "vocab": {token: i for i, token in enumerate(tokens)},
        "merges": [["i", "s"], ["i", "n"], [SPACE, "is"], [SPACE, "i"], [SPACE, SPACE]],
    }
    spec["normalizer"] = PREPENDED if name == "prepend" else {"type": "NFC"}
    spec["pre_tokenizer"] = None if name == "prepend" else METASPACE
    spec["decoder"] = None
    return spec


def rows(name, spec):
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer.from_str(json.dumps(spec)))
    subjects = SUBJECTS + (LIGATURES if "nfkc" in json.dumps(spec).lower() else [])
    for i, subject in enumerate(subjects):
        frame = FRAMES[i % len(FRAMES)]
        form = "NFC" if i % 7 == 6 else "NFD"
        inside = subject if subject in LIGATURES else unicodedata.normalize(form, subject)
        start = frame.index("{}")
        text = frame.replace("{}", inside)
        end = start + len(inside)
        encoded = fast(text, add_special_tokens=False, return_offsets_mapping=True)
        over = [j for j, (a, b) in enumerate(encoded["offset_mapping"]) if a < end and start < b]
        yield {
            "tokenizer": name, "text": text, "subject": subject if i % 2 else inside,
            "ids": encoded["input_ids"], "span": [over[0], over[-1] + 1],
        }


def main():
    names = [*STEPS, "prepend", "metaspace"]
    specs = {name: tokenizer(name) for name in names}
    found = [row for name in names for row in rows(name, specs[name])]
    out = {
        "versions": {"tokenizers": tokenizers.__version__, "transformers": transformers.__version__},
        # What differs from tiny-llama's tokenizer.json.
        "tokenizers": {name: {key: spec[key] for key in ["normalizer", "pre_tokenizer", "decoder"]
                              + (["model"] if name not in STEPS else [])}
                       for name, spec in specs.items()},
        "rows": found,
    }
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in found)
    out.pop("rows")
    text = json.dumps(out, separators=(",", ":"))[:-1] + ',"rows":[\n' + lines + "\n]}\n"
    (HERE / "normalizers.json").write_text(text)
    print(len(found), "rows")


if __name__ == "__main__":
    main()

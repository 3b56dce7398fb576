"""The tokenizers: of the real models, built by hand from the GGUF metadata, and of the tiny
ones; and the texts that they are trained or tried on."""

from collections import Counter

import gguf
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors)

from gguf_files import BYTE, CONTROL, USER_DEFINED

SHORT_PROMPTS = [
    "The capital of France is",
    "Water is made of hydrogen and",
    "The capital of Japan is Tokyo. The capital of France is",
]
LONG_SENTENCES = [
    "On day {} the keeper wrote that the light above the harbour had burned all night.",
    "She counted {} boats, and the smallest of them carried salt, rope and a crate of lemons.",
    "By evening the wind turned; {} gulls sat on the wall and would not leave it.",
    "A letter came from Lisbon with {} stamps, though nobody in the village knew the sender.",
    "The baker asked for {} sacks of flour, because the feast was nearer than he had thought.",
    "It rained for {} hours, and the children drew ships on the windows.",
    "In the tower they found a map on which {} islands had been crossed out in red ink.",
]
TINY_CORPUS = LONG_SENTENCES + SHORT_PROMPTS + [
    "The gate lets the value through, or it does not; the other reader scales it.",
    "Café, naïve, Grüße: 1 2 3, and then 4567 in the year 1987.",
]
STRINGS = [
    "",
    " ",
    "Hello, world!",
    "The capital of France is",
    " leading space",
    "trailing space ",
    "in 1987 12345",
    "3.14159, 1,000,000 and 2e-10; room 42b",
    "½ cup, x² + ٣٤ and Ⅷ",
    "SHOUTING in CamelCase and snake_case",
    "I'm sure they'll say it's what we'd've done; DON'T",
    "café naïve Grüße Ångström",
    "cafe\u0301 (with a combining accent)",
    "Привет, как дела?",
    "مرحبا بالعالم",
    "日本語のテキストと中文字符",
    "안녕하세요 세계",
    "नमस्ते दुनिया",
    "emoji 😀 family 👨‍👩‍👧 flag 🇫🇷 skin 👍🏽",
    "two  spaces   three    four",
    " " * 33 + "x",
    "line one\nline two\n\nparagraph\r\nwindows",
    "\n\n\n" + "\n" * 31,
    "\ttab\t\ttabs",
    " \n mixed \t\n ends with newline\n",
    "def f(x):\n    return x**2 + 1  # comment",
    "for (int i = 0; i < n; i++) { a[i] += b[i] * 0xFF; }",
    "https://example.com/a_b?q=1&r=%20#frag",
    "aaaaaaaaaaaaaaaaaaaaaaa hahahahaha ==========",
    "<|endoftext|>",
    "a<|im_start|>user\nhi<|im_end|> b",
    "<bos>",
    "<start_of_turn>user\nhi<end_of_turn>",
    "<table><tr>cell</tr></table>",
    "<0x0A> and <unused7>",
    "literal ▁▁ blocks",
    "zero\u200bwidth, nbsp\u00a0here, nul\u0000byte, \U00010348 \U000e0041",
]


def long_text(n_sentences=60):
    """The seven sentences over and over, with a number that changes."""
    return " ".join(LONG_SENTENCES[i % 7].format((i * 37) % 101 + 2) for i in range(n_sentences))


def gguf_field(path, key):
    return gguf.GGUFReader(path).fields[key].contents()


def byte_level_bpe(path, split, added=(CONTROL,)):
    """A byte-level BPE of the file's vocabulary; `split` cuts a text into words."""
    tokens = gguf_field(path, "tokenizer.ggml.tokens")
    types = gguf_field(path, "tokenizer.ggml.token_type")
    merges = [tuple(m.split(" ")) for m in gguf_field(path, "tokenizer.ggml.merges")]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence(split)
    tok.decoder = decoders.ByteLevel()
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True)
                            for t, kind in zip(tokens, types) if kind in added])
    return tok


def smollm2_tokenizer(path):
    return byte_level_bpe(path, [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])


QWEN2_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def qwen2_tokenizer(path):
    """As llama.cpp has it. The model's own tokenizer.json also composes characters (NFC), for
    which GGUF has no place."""
    return byte_level_bpe(path, [
        pre_tokenizers.Split(Regex(QWEN2_WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
        added=(CONTROL, USER_DEFINED))


def merges_from_scores(tokens, types, scores):
    """The BPE merges of a SentencePiece vocabulary: every way to cut a piece in two known
    pieces, best score first; of one piece's cuts the longer left part first (the order of
    transformers' `generate_merges`). Runs of a user-defined piece come before all else."""
    kinds = {t: k for t, k in zip(tokens, types) if k not in (CONTROL, BYTE)}
    merges = []
    for piece, kind, score in zip(tokens, types, scores):
        if kind in (CONTROL, BYTE):
            continue
        rank = float("inf") if kind == USER_DEFINED else score
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in kinds and right in kinds:
                merges.append((rank, len(left), len(right), (left, right)))
    merges.sort(key=lambda m: m[:3], reverse=True)
    return [m[3] for m in merges]


def gemma3_tokenizer(path, spaces="added"):
    """`spaces`: what becomes of the 30 user-defined tokens that are runs of spaces.
    "added": added tokens that match runs of " " in the raw text, as llama.cpp does.
    "merged": pieces of "▁" that the highest merges build, as transformers does."""
    tokens = gguf_field(path, "tokenizer.ggml.tokens")
    types = gguf_field(path, "tokenizer.ggml.token_type")
    scores = gguf_field(path, "tokenizer.ggml.scores")
    if spaces == "merged":
        tokens = [t.replace(" ", "▁") for t in tokens]
    # In llama.cpp runs of spaces or newlines are matched before any merge: leave them no merges.
    kinds = [CONTROL if spaces == "added" and k == USER_DEFINED else k for k in types]
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)},
                               merges=merges_from_scores(tokens, kinds, scores),
                               unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(),
                                     decoders.Fuse()])
    tok.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)])
    for t, kind in zip(tokens, types):
        if kind == CONTROL:
            tok.add_special_tokens([AddedToken(t, normalized=False, special=True)])
        elif kind == USER_DEFINED:
            tok.add_tokens([AddedToken(t, normalized=False)])
    return tok


TOKENIZERS = {  # by alias
    "smollm2-135m": smollm2_tokenizer,
    "gemma3-270m": gemma3_tokenizer,
    "qwen2.5-coder-0.5b": qwen2_tokenizer,
    "qwen2.5-coder-1.5b": qwen2_tokenizer,
}


def train_bpe(corpus, specials, vocab_size):
    """Byte-level BPE; the most frequent pair first, of equally frequent ones the smaller.
    (The trainer of `tokenizers` breaks ties differently from run to run.)"""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    words = [list(w) for text in corpus for w, _ in split.pre_tokenize_str(text)]
    vocab = specials + sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = []
    while len(vocab) < vocab_size:
        counts = Counter(pair for w in words for pair in zip(w, w[1:]))
        left, right = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append((left, right))
        vocab.append(left + right)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == (left, right):
                    w[i:i + 2] = [left + right]
                i += 1
    return {t: i for i, t in enumerate(vocab)}, merges


def tiny_tokenizer(vocab_size, add_bos):
    vocab, merges = train_bpe(TINY_CORPUS, ["<s>", "</s>"], vocab_size)
    tok = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    tok.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<s>", "</s>")])
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    assert tok.get_vocab_size() == vocab_size
    if add_bos:
        tok.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    return tok

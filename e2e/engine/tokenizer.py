"""A byte-level BPE tokenizer in Hugging Face's ``tokenizer.json`` form, learned from a fixed list of words."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# Frequent English words, most frequent first; enough for some 1,800 merges.
SEED_WORDS = Path(__file__).with_name("seed-words.txt").read_text(encoding="utf-8").split()


def build_tokenizer(vocabulary: int) -> dict[str, Any]:
    """The content of ``tokenizer.json`` with at most ``vocabulary`` tokens: special tokens, 256 bytes, then merges."""
    alphabet = _byte_alphabet()
    merges = _learn_merges(vocabulary - len(SPECIAL_TOKENS) - len(alphabet), alphabet)
    tokens = [*SPECIAL_TOKENS, *alphabet.values(), *(a + b for a, b in merges)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(number, text) for number, text in enumerate(SPECIAL_TOKENS)],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [list(pair) for pair in merges],
        },
    }


def tokenizer_config(context: int) -> dict[str, Any]:
    """The content of ``tokenizer_config.json``."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIAL_TOKENS[0],
        "pad_token": SPECIAL_TOKENS[0],
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def _special(number: int, text: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": text, **flags}


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte: printable Latin-1 is itself, the others follow from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    alphabet = {byte: chr(byte) for byte in sorted(printable)}
    for place, byte in enumerate(sorted(set(range(256)) - printable)):
        alphabet[byte] = chr(0x100 + place)
    return alphabet


def _learn_merges(count: int, alphabet: dict[int, str]) -> list[tuple[str, str]]:
    """Byte-pair encoding: merge the most frequent neighbouring pair, ``count`` times; ties go to the smaller pair."""
    words = _seed_words(alphabet)
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, frequency in words:
            for pair in pairwise(symbols):
                pairs[pair] += frequency
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = [(_merged(symbols, best), frequency) for symbols, frequency in words]
    return merges


def _seed_words(alphabet: dict[int, str]) -> list[tuple[list[str], int]]:
    """Each word with a space before it (and once without), weighed by its rank."""
    ranked: dict[str, int] = {}
    for rank, word in enumerate(SEED_WORDS):
        ranked.setdefault(" " + word, 4 * (len(SEED_WORDS) - rank))
        ranked.setdefault(word, len(SEED_WORDS) - rank)
    return [([alphabet[byte] for byte in word.encode()], weight) for word, weight in ranked.items()]


def _merged(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for symbol in symbols:
        if out and (out[-1], symbol) == pair:
            out[-1] += symbol
        else:
            out.append(symbol)
    return out

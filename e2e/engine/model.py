"""Random-weight Qwen2 models for tests and the demo: made on the spot without a download, the same everywhere.

The weights are scaled so that greedy output depends on the whole context. With the usual small initialisation a random
model repeats one token and would not notice wrong KV cache.

As a program: ``PYTHONPATH=e2e python -m engine.model tiny`` prints the model's directory.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.tokenizer import build_tokenizer, tokenizer_config
from engine.vllm_cpu import default_cache

FORMAT = 1  # raise it when the same size would give other bytes
VOCABULARY = 2048
CONTEXT_TOKENS = 8192


@dataclass(frozen=True)
class ModelSize:
    """Qwen2 dimensions. KV cache per token: 2 (K and V) * layers * kv_heads * hidden/heads values."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int


SIZES = {
    "tiny": ModelSize(
        hidden=128, layers=2, heads=4, kv_heads=2
    ),  # 1 M parameters, 512 bytes of KV per token in bfloat16
    "small": ModelSize(
        hidden=512, layers=8, heads=8, kv_heads=4
    ),  # 34 M parameters, 8 KiB: prefill and decode compete
}


def ensure_model(name: str, cache: Path | None = None) -> Path:
    """The directory of model ``name`` (a key of SIZES), made when it is not there. Raises KeyError for another name."""
    size = SIZES[name]
    made_from = hashlib.sha256(
        json.dumps([FORMAT, VOCABULARY, CONTEXT_TOKENS, asdict(size)]).encode()
    ).hexdigest()
    folder = (cache or default_cache()) / "models" / name
    stamp = folder / "made-from"
    if stamp.is_file() and stamp.read_text() == made_from:
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=folder.parent))
    try:
        write_model(stage, size)
        (stage / stamp.name).write_text(made_from)
        stage.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        stage.rename(folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return folder


def write_model(folder: Path, size: ModelSize) -> None:
    """Write config, tokenizer and weights (bfloat16) in Hugging Face's layout into an existing directory."""
    _write_json(folder / "config.json", _config(size))
    _write_json(folder / "generation_config.json", {"bos_token_id": 0, "eos_token_id": 0})
    _write_json(folder / "tokenizer.json", build_tokenizer(VOCABULARY))
    _write_json(folder / "tokenizer_config.json", tokenizer_config(CONTEXT_TOKENS))
    _write_safetensors(folder / "model.safetensors", dict(_weights(size)))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _config(size: ModelSize) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "hidden_act": "silu",
        "hidden_size": size.hidden,
        "intermediate_size": 4 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "num_key_value_heads": size.kv_heads,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT_TOKENS,
        "rms_norm_eps": 1e-06,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "bfloat16",
    }


def _weights(size: ModelSize) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    # RandomState's stream is frozen by NumPy's policy; a Generator's may change with a release.
    random = np.random.RandomState(0)
    kv_width = size.kv_heads * size.hidden // size.heads

    def matrix(rows: int, columns: int, gain: float) -> npt.NDArray[np.float32]:
        drawn = random.standard_normal((rows, columns)) * (gain / columns**0.5)
        return np.asarray(drawn, np.float32)

    yield "model.embed_tokens.weight", matrix(VOCABULARY, size.hidden, 0.5 * size.hidden**0.5)
    for layer in range(size.layers):
        prefix = f"model.layers.{layer}"
        for projection, width in (("q", size.hidden), ("k", kv_width), ("v", kv_width)):
            yield f"{prefix}.self_attn.{projection}_proj.weight", matrix(width, size.hidden, 2.0)
            yield f"{prefix}.self_attn.{projection}_proj.bias", np.zeros(width, np.float32)
        yield f"{prefix}.self_attn.o_proj.weight", matrix(size.hidden, size.hidden, 2.0)
        yield f"{prefix}.mlp.gate_proj.weight", matrix(4 * size.hidden, size.hidden, 1.0)
        yield f"{prefix}.mlp.up_proj.weight", matrix(4 * size.hidden, size.hidden, 1.0)
        yield f"{prefix}.mlp.down_proj.weight", matrix(size.hidden, 4 * size.hidden, 1.0)
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{prefix}.{norm}.weight", np.ones(size.hidden, np.float32)
    yield "model.norm.weight", np.ones(size.hidden, np.float32)
    yield "lm_head.weight", matrix(VOCABULARY, size.hidden, 2.0)


def _write_safetensors(path: Path, tensors: dict[str, npt.NDArray[np.float32]]) -> None:
    """safetensors: 8 bytes header length (little endian), JSON header, then the raw tensors one after the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        end = offset + 2 * tensor.size
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as out:
        out.write(len(encoded).to_bytes(8, "little"))
        out.write(encoded)
        for tensor in tensors.values():
            out.write(_bfloat16(tensor))
        out.flush()
        os.fsync(out.fileno())


def _bfloat16(values: npt.NDArray[np.float32]) -> bytes:
    """The upper half of each float32, rounded to the nearest (ties to even)."""
    bits = values.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype("<u2").tobytes()


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Make a random-weight model in the cache and print where it is."
    )
    parser.add_argument("name", choices=sorted(SIZES))
    parser.add_argument("--cache", type=Path, help="cache directory (default: $XDG_CACHE_HOME/pd-operator)")
    arguments = parser.parse_args()
    print(ensure_model(arguments.name, arguments.cache))
    return 0


if __name__ == "__main__":
    sys.exit(main())

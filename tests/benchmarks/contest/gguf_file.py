"""A model directory as the GGUF file that llama.cpp reads: architecture gpt2, its names and types.

The layout of each matrix is torch's: [out, in], rows together. The output is the token embedding.
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import quantize

from gpt2 import weights
from gpt2.tokenizer import ENDOFTEXT_ID
from gpt2.vocabulary import read_vocabulary
from gpt2.weights.files import read_json

# Of the matrices; vectors and positions stay in float32, as llama.cpp's own conversion has them.
TYPES = {
    "float32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "bfloat16": (GGMLQuantizationType.BF16, LlamaFileType.MOSTLY_BF16),
    "int8": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
PARTS = {
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}
WHOLE = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def write_gguf(directory: Path, path: Path, numbers: str) -> None:
    """Write a language model as one file."""
    model = weights.load_language_model(directory)
    config, (kind, file_type) = model.config, TYPES[numbers]
    file = GGUFWriter(path, "gpt2")
    file.add_name(directory.name)
    file.add_file_type(file_type)
    file.add_context_length(config.n_ctx)
    file.add_embedding_length(config.n_embd)
    file.add_block_count(config.n_layer)
    file.add_feed_forward_length(4 * config.n_embd)
    file.add_head_count(config.n_head)
    file.add_layer_norm_eps(config.layer_norm_epsilon)
    _add_vocabulary(file, directory)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if tensor.dim() == 2 and not name.startswith("wpe"):
            file.add_tensor(_named(name), quantize(values, kind), raw_dtype=kind)
        else:
            file.add_tensor(_named(name), values)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def _add_vocabulary(file: GGUFWriter, directory: Path) -> None:
    words = read_json(directory / "vocab.json")
    merges = [" ".join(pair) for pair in read_vocabulary(directory).merges]
    kinds = np.full(len(words), TokenType.NORMAL)
    kinds[ENDOFTEXT_ID] = TokenType.CONTROL
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_list(sorted(words, key=words.__getitem__))
    file.add_token_types(kinds.tolist())
    file.add_token_merges(merges)
    file.add_bos_token_id(ENDOFTEXT_ID)
    file.add_eos_token_id(ENDOFTEXT_ID)


def _named(name: str) -> str:
    """h.3.mlp.c_fc.weight is blk.3.ffn_up.weight."""
    part, _, kind = name.rpartition(".")
    if part in WHOLE:
        return f"{WHOLE[part]}.{kind}"
    _, layer, inner = part.split(".", 2)
    return f"blk.{layer}.{PARTS[inner]}.{kind}"

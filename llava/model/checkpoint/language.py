"""What `config.json` may say of each family's language model: a table of rules each, by the names of its own."""

from transformers.activations import ACT2FN

from llava.model.checkpoint.rules import (
    Rule,
    either,
    flag,
    list_of,
    mapping_of,
    nullable,
    number,
    one_of,
    positive,
    text,
    whole,
)

DTYPES = ("float16", "bfloat16", "float32", "float64")
ACTIVATIONS = one_of(*(name for name in ACT2FN if name not in ("prelu", "xielu")))  # those have weights of their own

_FACTOR = positive(1e6)
ROPE = mapping_of(
    {
        "type": one_of("default", "linear", "dynamic", "yarn", "longrope", "llama3"),
        "rope_type": one_of("default", "linear", "dynamic", "yarn", "longrope", "llama3"),
        "rope_theta": positive(1e12),
        "partial_rotary_factor": number(0.01, 1),
        "original_max_position_embeddings": whole(1, 2**27),
        "short_factor": list_of(_FACTOR),
        "long_factor": list_of(_FACTOR),
        "truncate": flag(),
        **dict.fromkeys(
            ("factor", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor", "high_freq_factor"), _FACTOR
        ),
        **dict.fromkeys(("mscale", "mscale_all_dim"), number(0, 1e6)),
    }
)
_TOKEN = whole(-1, 2**24)
COMMON: dict[str, Rule] = {
    "vocab_size": whole(1, 2**24),
    "initializer_range": number(0, 100),
    "use_cache": flag(),
    "pad_token_id": nullable(_TOKEN),
    "bos_token_id": nullable(_TOKEN),
    "eos_token_id": nullable(either(_TOKEN, list_of(_TOKEN))),
    "tie_word_embeddings": flag(),
    "dtype": nullable(one_of(*DTYPES)),
    "torch_dtype": nullable(one_of(*DTYPES)),
}
# Those of rotary positions, RMS norms and gated MLPs.
_ROTARY: dict[str, Rule] = COMMON | {
    "hidden_size": whole(1, 2**16),
    "intermediate_size": whole(1, 2**19),
    "num_hidden_layers": whole(1, 512),
    "num_attention_heads": whole(1, 1024),
    "num_key_value_heads": nullable(whole(1, 1024)),
    "hidden_act": ACTIVATIONS,
    "max_position_embeddings": whole(1, 2**27),
    "rms_norm_eps": number(0, 1),
    "rope_theta": positive(1e12),
    "rope_scaling": nullable(ROPE),
    "rope_parameters": nullable(ROPE),
    "attention_dropout": number(0, 1),
}
_HEAD = {"head_dim": nullable(whole(1, 4096))}
_WINDOW = {"sliding_window": nullable(whole(1, 2**27))}
LLAMA = _ROTARY | _HEAD | {"pretraining_tp": nullable(whole(0, 1024)), "attention_bias": flag(), "mlp_bias": flag()}
MISTRAL = _ROTARY | _HEAD | _WINDOW
QWEN = (
    _ROTARY
    | _WINDOW
    | {
        "use_sliding_window": flag(),
        "max_window_layers": whole(0, 512),
        "layer_types": nullable(list_of(one_of("full_attention", "sliding_attention"), 0, 512)),
    }
)
# What is not followed here may have no value but the usual one; every other would be another model.
MPT_ATTENTION: dict[str, Rule] = {
    "alibi": one_of(True),
    "alibi_bias_max": whole(1, 1024),
    "attn_impl": text(50),
    "attn_pdrop": one_of(0, 0.0),
    "attn_type": one_of("multihead_attention"),
    "attn_uses_sequence_id": one_of(False),
    "clip_qkv": nullable(positive(1e6)),
    "prefix_lm": one_of(False),
    "qk_ln": one_of(False),
    "softmax_scale": nullable(positive(1e6)),
    **dict.fromkeys(("qk_gn", "rope"), one_of(False)),  # of later releases of MPT
}
MPT = COMMON | {
    "d_model": whole(1, 2**16),
    "hidden_size": whole(1, 2**16),
    "n_heads": whole(1, 1024),
    "n_layers": whole(1, 512),
    "max_seq_len": whole(1, 2**27),
    "expansion_ratio": one_of(4),
    "layer_norm_epsilon": number(0, 1),
    "attn_config": nullable(mapping_of(MPT_ATTENTION)),
    "no_bias": one_of(True),
    "logit_scale": one_of(None),
    "emb_pdrop": one_of(0, 0.0),
    "resid_pdrop": one_of(0, 0.0),
    "learned_pos_emb": flag(),  # without effect beside ALiBi
    "norm_type": one_of("low_precision_layernorm", "layernorm"),
    "embedding_fraction": number(0, 1),
    "init_device": text(50),
}

"""Random models that servers run, and what they are asked: heads, latents, states, windows, over devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from random import Random

Made = dict[str, Any]
ENGINES = ("vllm", "vllm", "vllm@0.20.0", "vllm@0.11.0", "sglang", "sglang", "llamacpp", "tensorrt-llm", "paper")


class Ask(NamedTuple):
    """A context, a batch, an engine and its devices. `more` are engine options."""

    n: int
    batch: int
    engine: str
    dtype: str
    tp: int
    pp: int
    dp: int
    encoder_tokens: int
    more: tuple[tuple[str, str], ...] = ()


def _heads(rng: Random, reach: Made | None) -> Made:
    n_kv, width = rng.choice((1, 2, 4, 8, 16)), rng.choice((64, 96, 128, 192, 256))
    made = {"kind": "heads", "num_attention_heads": n_kv * rng.choice((1, 2, 4, 8)), "num_key_value_heads": n_kv}
    made |= {"head_dim": width, "v_head_dim": rng.choice((width, width, width, 128))}
    return made | ({"reach": reach} if reach else {})


def _mla(rng: Random) -> Made:
    made = {"kind": "mla", "num_attention_heads": rng.choice((8, 16, 32, 128)), "kv_lora_rank": rng.choice((256, 512))}
    made |= {"qk_rope_head_dim": rng.choice((32, 64)), "qk_nope_head_dim": 128, "v_head_dim": 128}
    return made | ({"q_lora_rank": 768} if rng.random() < 0.4 else {})


def _state(rng: Random) -> Made:
    kernel = rng.choice((3, 4))
    return rng.choice(
        (
            {"kind": "mamba1", "intermediate_size": 4096, "state_size": 16, "time_step_rank": 8, "conv_kernel": kernel},
            {
                "kind": "mamba2",
                "num_heads": rng.choice((32, 64, 80)),
                "head_dim": 64,
                "state_size": 128,
                "n_groups": rng.choice((1, 8)),
                "conv_kernel": kernel,
            },
            {
                "kind": "gated_deltanet",
                "num_key_heads": 16,
                "num_value_heads": rng.choice((16, 32)),
                "key_head_dim": 128,
                "value_head_dim": 128,
                "conv_kernel": kernel,
            },
            {
                "kind": "kda",
                "num_heads": rng.choice((16, 32)),
                "head_dim": 128,
                "conv_kernel": kernel,
                "gate_rank": 128,
            },
            {"kind": "short_conv", "conv_kernel": kernel},
        )
    )


def document(rng: Random) -> Made:
    """Two or three kinds of layers in a random order."""
    window = {"kind": "window", "sliding_window": rng.choice((128, 512, 1000, 4096))}
    chunk = {"kind": "chunk", "attention_chunk_size": rng.choice((512, 8192))}
    style = rng.choice(
        ("plain", "window", "window", "chunk", "mla", "indexed", "hybrid", "hybrid", "crossed", "states")
    )
    full, kinds = [_heads(rng, None)], []
    if style == "plain":
        kinds = [full, *([[_heads(rng, None)]] if rng.random() < 0.3 else [])]
    elif style in ("window", "chunk"):
        reach = window if style == "window" else chunk
        local = [full[0] | {"reach": reach} if rng.random() < 0.6 else _heads(rng, reach)]
        kinds = [local, full] if rng.random() < 0.8 else [local]
    elif style == "mla":
        kinds = [[_mla(rng)]]
    elif style == "indexed":
        latent = _mla(rng)
        kinds = [
            [
                latent | {"reach": {"kind": "top", "top_k": 2048}},
                {"kind": "index", "index_n_heads": 64, "index_head_dim": 128},
            ]
        ]
    elif style == "hybrid":
        kinds = [[_state(rng)], [_mla(rng)] if rng.random() < 0.2 else full]
        if rng.random() < 0.1:
            kinds = [[kinds[0][0], *kinds[1]]]  # side by side
    elif style == "crossed":
        kinds = [[full[0], full[0] | {"reach": {"kind": "encoder"}}]]
    else:
        kinds = [[_state(rng)]]
    order = [*range(len(kinds)), *rng.choices(range(len(kinds)), k=rng.randint(0, 30))]
    rng.shuffle(order)
    made: Made = {"name": "served", "hidden_size": 2048, "vocab_size": 100, "num_hidden_layers": len(order)}
    made |= {"tie_word_embeddings": True, "norm": "rmsnorm", "norms_per_layer": 2, "mlp": None}
    made["layers"] = {f"k{at}": {"branches": kind} for at, kind in enumerate(kinds)}
    made["layer_types"] = [f"k{at}" for at in order]
    if style in ("hybrid", "states") and rng.random() < 0.3:
        made["state_dtype"] = rng.choice(("fp32", "bf16"))
    if rng.random() < 0.3:
        made["architecture"] = rng.choice(("GptOssForCausalLM", "Gemma3ForCausalLM", "InklingForConditionalGeneration"))
    return made


def ask(rng: Random) -> Ask:
    """One question."""
    engine = rng.choice(ENGINES)
    tp = 1 if engine == "llamacpp" else rng.choice((1, 1, 2, 4, 8, 16))
    dp = tp if engine == "tensorrt-llm" and rng.random() < 0.3 else rng.choice((1, 1, 1, 2, 3))
    dp = 1 if engine == "llamacpp" or (engine == "tensorrt-llm" and dp != tp) else dp
    dtypes = (
        ("bf16", "bf16", "fp16", "fp32", "q8_0", "q4_0") if engine == "llamacpp" else ("bf16", "bf16", "fp8", "fp32")
    )
    more: tuple[tuple[str, str], ...] = ()
    if engine.startswith("vllm") and rng.random() < 0.5:
        more = (
            rng.choice((("enable_prefix_caching", "off"), ("max_num_batched_tokens", "2048"), ("gpu_class", "a100"))),
        )
    if engine == "vllm" and rng.random() < 0.2:
        more = (*more, ("async_scheduling", "off"))
    if engine == "sglang" and rng.random() < 0.4:
        more = (rng.choice((("page_size", "64"), ("hybrid_swa", "on"), ("swa_full_tokens_ratio", "0.33"))),)
    if engine == "llamacpp" and rng.random() < 0.5:
        more = (rng.choice((("n_ubatch", "2048"), ("swa_full", "on"), ("kv_unified", "on"), ("flash_attn", "off"))),)
    n = rng.choice((rng.randint(1, 300), rng.randint(1, 9000), rng.randint(1, 200_000)))
    batch = rng.choice((1, 1, rng.randint(2, 40)))
    return Ask(
        n, batch, engine, rng.choice(dtypes), tp, rng.choice((1, 1, 1, 2, 3)), dp, rng.choice((100, 1500, 9000)), more
    )

"""Cross attention and encoder-decoders: the live code's numbers, masks counted key by key, laws between numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import from_config, heads, records, value
from kvcalc.analysis import analyze, formulas
from kvcalc.arrays import evaluate_arrays
from kvcalc.attention.both_ways import Band, BlockSparse, Summaries
from kvcalc.attention.encoder import Encoder
from kvcalc.attention.reach import Full, Reach, Window
from kvcalc.detail import facts
from kvcalc.errors import ConfigError, KvcalcError, NotUnderstoodError
from kvcalc.feedforward import Dense
from kvcalc.formula import parse
from kvcalc.model import Branch, EncoderSpec, Layer, LayerGroup, ModelSpec
from kvcalc.readers.native import read_native
from kvcalc.readers.text import Document
from kvcalc.workload import Workload

RECORDS = records("encoder_decoders.jsonl")
MODELS = {record["name"]: record for record in records("encoder_decoder_models.jsonl")}
DECODED = (1, 13)  # decoder tokens of the recorded caches

# The library counts more than the model needs: what an encoder's mask hides in its blocks, a pooler, convolutions over
# their padding; and it maps the encoder's output anew at every step.
POOLED = ("encoder-decoder/1", "encoder-decoder/2", "encoder-decoder/tie-other")
MORE_IN_PREFILL = ("longt5", "led", "moonshine", "t5gemma", "t5gemma2", "cohere_asr", *POOLED)
MORE_IN_DECODE = ("cohere_asr", "encoder-decoder/2")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["id"])
def test_live_code(record: dict[str, Any]) -> None:
    spec = from_config(record["config"])
    assert value(spec, "parameters", Workload(1)) == record["parameters"]
    if "cache" not in record:
        return
    n_enc = record["encoder_tokens"]
    for n in DECODED:
        workload = Workload(n, encoder_tokens=n_enc, engine="transformers")
        assert value(spec, "cache_elements", workload) == record["cache"][str(n)]
    prefill = value(spec, "prefill_model_flops", Workload(1, encoder_tokens=n_enc))
    decode = value(spec, "decode_model_flops", Workload(2, encoder_tokens=n_enc))
    more = record["flops"]["prefill"] - prefill, record["flops"]["decode"] - decode
    assert more[0] > 0 if record["id"].startswith(MORE_IN_PREFILL) else more[0] == 0
    assert more[1] > 0 if record["id"].startswith(MORE_IN_DECODE) else more[1] == 0


def test_every_published_fixed_length() -> None:
    """Whisper's 1500 frames; one image of four tiles of 1601 tokens for Llama 3.2."""
    assert value(from_config(MODELS["whisper-large-v3"]["config"]), "encoder_tokens", Workload(7)) == 1500
    assert value(from_config(MODELS["llama-3.2-11b-vision"]["config"]), "encoder_tokens", Workload(7)) == 4 * 1601
    assert value(from_config(MODELS["t5-small"]["config"]), "encoder_tokens", Workload(7)) == 7


def test_t5() -> None:
    """Records grow with the encoder, while the decoder holds one token."""
    spec, record = from_config(MODELS["t5-small"]["config"]), MODELS["t5-small"]
    assert value(spec, "parameters", Workload(1)) == record["parameters"]
    for n, elements in record["cache"].items():
        assert value(spec, "cache_elements", Workload(1, encoder_tokens=int(n))) == elements
    for n, phase in ((1, "prefill"), (2, "decode")):
        workload = Workload(n, encoder_tokens=2048)
        assert value(spec, f"{phase}_model_flops", workload) == sum(record["flops_2048"][phase].values())


def test_whisper() -> None:
    spec, record = from_config(MODELS["whisper-large-v3"]["config"]), MODELS["whisper-large-v3"]
    assert value(spec, "parameters", Workload(1)) == record["parameters"]
    assert value(spec, "cache_elements", Workload(1)) == record["cache"]["1500"]


def test_mllama_without_an_image() -> None:
    """Text alone skips the layers of cross attention whole, MLPs too."""
    spec, record = from_config(MODELS["llama-3.2-11b-vision"]["config"]), MODELS["llama-3.2-11b-vision"]
    assert value(spec, "parameters", Workload(1)) == record["parameters"]
    for n, elements in record["cache"].items():
        assert value(spec, "cache_elements", Workload(int(n), encoder_tokens=0)) == elements
    counted = record["flops_2048"]
    decode = value(spec, "decode_model_flops", Workload(2049, encoder_tokens=0))
    assert decode == sum(counted["decode"].values())
    projections = value(spec, "prefill_projection_flops", Workload(2048, encoder_tokens=0))
    assert projections == counted["prefill"]["attn_proj"]
    core = value(spec, "prefill_core_flops", Workload(2048, encoder_tokens=0))
    assert 2 * 2048 * core == 2049 * counted["prefill"]["attn_core"]  # it counts the rectangle


def sees(reach: Reach, n: int, query: int, key: int) -> bool:
    """The masks of encoders."""
    match reach:
        case Band(left, right):
            return -left <= key - query <= right
        case _:
            return True


@given(st.one_of(st.just(Full()), st.builds(Band, st.integers(0, 9), st.integers(0, 9))), st.integers(0, 40))
def test_pairs_of_encoders(reach: Reach, n: int) -> None:
    counted = sum(sees(reach, n, query, key) for query in range(n) for key in range(n))
    assert parse(reach.rules.both_ways).evaluate({**numbers(reach), "n": n}) == counted


@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 120))
def test_pairs_of_bigbird(block: int, random: int, n: int) -> None:
    """Block by block: the ends see all blocks, their neighbours 4 + R, the others 5 + R; short inputs everything."""
    blocks = -(-n // block)
    if n <= (5 + 2 * random) * block:
        counted = n * n
    else:
        seen = [
            blocks if at in (0, blocks - 1) else (4 if at in (1, blocks - 2) else 5) + random for at in range(blocks)
        ]
        counted = sum(seen) * block * block
    reach = BlockSparse(block, random)
    assert parse(reach.rules.both_ways).evaluate({**numbers(reach), "n": n}) == counted


@given(st.integers(1, 9), st.integers(0, 60))
def test_pairs_of_summaries(block: int, n: int) -> None:
    """Every token sees one summary a full block."""
    full_blocks = len(range(block, n + 1, block))
    reach = Summaries(block)
    assert parse(reach.rules.both_ways).evaluate({**numbers(reach), "n": n}) == n * full_blocks
    assert parse(reach.rules.made).evaluate({**numbers(reach), "n": n}) == full_blocks


def numbers(reach: Reach) -> dict[str, int]:
    return {symbol: number for symbol, number in reach.symbols().items() if isinstance(number, int)}


def encoder_decoder(layers: int = 2, width: int = 0, encoder_layers: int = 1) -> ModelSpec:
    """Self and cross attention in every layer."""
    memory = heads(4, 2, 8)
    branches = (Branch(memory, Full()), Branch(memory._replace(kv_hidden_size=width), Encoder()))
    group = LayerGroup(Layer(branches, Dense(64, gated=True), 3), tuple(range(layers)))
    inner = LayerGroup(Layer((Branch(memory, Full()),), Dense(64, gated=True), 2), tuple(range(encoder_layers)))
    encoder = EncoderSpec(hidden_size=width or 32, groups=(inner,), norm="rmsnorm", norms=1)
    return ModelSpec("pair", 32, 100, (group,), "rmsnorm", tie_word_embeddings=True, encoder=encoder)


TOKENS = st.integers(1, 200)


@given(TOKENS, TOKENS, st.integers(1, 200))
@settings(max_examples=40)
def test_the_cross_cache_does_not_grow(n: int, more: int, n_enc: int) -> None:
    """Longer answers add self attention's elements alone; what a new token stores knows nothing of the encoder."""
    spec = encoder_decoder()
    found = [value(spec, "cache_elements", Workload(m, encoder_tokens=n_enc)) for m in (n, n + more)]
    a_token = value(spec, "cache_elements_per_token", Workload(n, encoder_tokens=n_enc))
    assert found[1] - found[0] == more * a_token
    assert a_token == 2 * 2 * 2 * 8  # layers, K and V, KV heads, elements of a head
    assert found[0] == a_token * (n + n_enc)  # heads of both attentions are alike here


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 60), st.integers(1, 3))
@settings(max_examples=40)
def test_steps_add_up(n: int, generated: int, n_enc: int, batch: int) -> None:
    """An answer is the sum of its steps; a prefill is its first token's and then steps, but for their logits."""
    spec = encoder_decoder(width=48)
    workload = Workload(n, generate_tokens=generated, encoder_tokens=n_enc, batch=batch)
    steps = [
        value(spec, "decode_model_flops", workload._replace(context_tokens=n + i, generate_tokens=0))
        for i in range(1, generated + 1)
    ]
    assert value(spec, "answer_model_flops", workload) == sum(steps)
    for kind in ("core", "projection"):
        first = value(spec, f"prefill_{kind}_flops", workload._replace(context_tokens=1))
        later = [value(spec, f"decode_{kind}_flops", workload._replace(context_tokens=t)) for t in range(2, n + 1)]
        assert value(spec, f"prefill_{kind}_flops", workload) == first + sum(later)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 5))
@settings(max_examples=40)
def test_the_encoder_runs_once_a_sequence(n: int, n_enc: int, batch: int) -> None:
    """A layer of it more costs the prefill alone, and nothing once tokens are cached; without a cache every step."""
    small, large = encoder_decoder(encoder_layers=1), encoder_decoder(encoder_layers=2)
    per_token = 2 * 32 * (2 * 4 * 8 + 2 * 2 * 8) + 6 * 32 * 64
    layer = batch * (n_enc * per_token + 4 * 4 * 8 * n_enc * n_enc)

    def more(key: str, workload: Workload) -> int:
        return value(large, key, workload) - value(small, key, workload)

    workload = Workload(n + 1, encoder_tokens=n_enc, batch=batch)
    assert more("prefill_model_flops", workload) == layer
    assert more("decode_model_flops", workload) == 0
    assert more("prefill_model_flops", workload._replace(cached_tokens=n)) == 0
    assert more("decode_model_flops", workload._replace(kv_cache=False)) == layer
    assert more("cache_elements", workload) == more("decode_cache_read_bytes", workload) == 0


@given(TOKENS)
@settings(max_examples=20)
def test_without_encoder_tokens_there_is_no_cross_attention(n: int) -> None:
    spec = encoder_decoder()
    (group,) = spec.groups
    own = group._replace(layer=group.layer._replace(branches=group.layer.branches[:1]))
    alone = spec._replace(groups=(own,), encoder=None)
    for key in ("cache_elements", "decode_model_flops", "prefill_model_flops", "decode_cache_read_bytes"):
        assert value(spec, key, Workload(n, encoder_tokens=0)) == value(alone, key, Workload(n))
    assert value(spec, "parameters", Workload(n, encoder_tokens=0)) > value(alone, "parameters", Workload(n))


def test_k_and_v_are_made_from_the_encoders_width() -> None:
    narrow, wide = encoder_decoder(layers=1, width=32), encoder_decoder(layers=1, width=48)
    rows = 16 * 2 * (2 * 8)  # 16 wider, of K and V
    encoder = 16 * (2 * 4 * 8 + 2 * 2 * 8) + 3 * 16 * 64 + 3 * 16
    assert value(wide, "parameters", Workload(1)) - value(narrow, "parameters", Workload(1)) == rows + encoder


def test_arrays_say_the_same() -> None:
    """Where the encoder is as long as the context, and where it is fixed."""
    spec = encoder_decoder()
    for workload in (Workload(1), Workload(1, encoder_tokens=33), Workload(1, encoder_tokens=0)):
        found = evaluate_arrays(formulas(spec, workload), workload.scope(), [3, 50], [1, 4])
        for at, (n, batch) in enumerate([(3, 1), (3, 4), (50, 1), (50, 4)]):
            report = analyze(spec, workload._replace(context_tokens=n, batch=batch))
            for key, numbers_ in found.items():
                assert (numbers_[at] if isinstance(numbers_, list) else numbers_) == report.value(key)


def test_both_stacks_are_shown() -> None:
    parts = {fact.part for fact in facts(analyze(encoder_decoder(), Workload(5))) if fact.section == "layers"}
    assert parts == {"GQA-2 / gated MLP 64", "GQA-2 cross / gated MLP 64", "encoder GQA-2 / gated MLP 64"}


def test_a_prefix_is_shared_by_no_two_encoders() -> None:
    with pytest.raises(KvcalcError, match="reads an encoder"):
        analyze(encoder_decoder(), Workload(9, shared_prefix_tokens=4))


HEADS = {"kind": "heads", "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
NATIVE: dict[str, Any] = {
    "name": "pair",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "vocab_size": 100,
    "norm": "rmsnorm",
    "norms_per_layer": 3,
    "tie_word_embeddings": True,
    "branches": [
        {"kind": "heads", "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8},
        {
            "kind": "heads",
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "reach": {"kind": "encoder"},
        },
    ],
    "mlp": {"kind": "dense", "intermediate_size": 64, "gated": True},
    "encoder": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "norm": "rmsnorm",
        "norms_per_layer": 2,
        "attention": HEADS,
        "mlp": {"kind": "dense", "intermediate_size": 64, "gated": True},
    },
}


def native(**more: Any) -> ModelSpec:
    return read_native(Document("config.yaml", {**copy.deepcopy(NATIVE), **more}, dict))


def test_native() -> None:
    assert native() == encoder_decoder()
    assert native(encoder_tokens=0).encoder_tokens == 0
    assert native().encoder_tokens is None


def test_directions_are_not_mixed_up() -> None:
    """A causal window is no encoder's, a band no decoder's."""
    window = {**NATIVE["encoder"], "sliding_window": 8}
    with pytest.raises(ConfigError, match="SWA-8: an encoder attends both ways"):
        native(encoder=window)
    band = [{**NATIVE["branches"][0], "reach": {"kind": "band", "left": 3, "right": 3}}]
    with pytest.raises(ConfigError, match=r"band-3\+3: only an encoder"):
        native(branches=band)
    assert Window(8).rules.both_ways == ""


def changed(name: str, **fields: Any) -> dict[str, Any]:
    config: dict[str, Any] = copy.deepcopy(next(record["config"] for record in RECORDS if record["id"] == name))
    return {**config, **fields}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed("led/1", attention_window=7), "an even number of tokens"),
        (changed("led/1", attention_window=[8]), "1 entries for 2 layers"),
        (changed("bigbird_pegasus/1", attention_type="sparse"), "block_sparse or original_full"),
        (changed("longt5/1", encoder_attention_type="global"), "local or transient-global"),
        (changed("t5/1", is_encoder_decoder=False), "is_encoder_decoder"),
        (changed("mvp/1", use_prompt=True), "use_prompt"),
        (changed("moonshine/1", encoder_num_key_value_heads=1), "encoder_num_key_value_heads"),
        (changed("speech_to_text/1", num_conv_layers=3, conv_kernel_sizes=[5, 5, 5]), "two convolutions"),
        (changed("t5gemma/1", encoder=None), "missing field 'encoder'"),
        (changed("vision-encoder-decoder/1", encoder={"model_type": "resnet"}), "'resnet' gives is not understood"),
        (changed("encoder-decoder/1", encoder={"model_type": "llama", "hidden_size": 64}), "not understood"),
        ({k: v for k, v in changed("bart/1").items() if k != "decoder_layers"}, "missing field 'decoder_layers'"),
        ({"model_type": "prophetnet", "hidden_size": 8}, "'prophetnet' is not understood"),
    ],
    ids=lambda told: told if isinstance(told, str) else told["model_type"],
)
def test_what_is_not_understood_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, NotUnderstoodError), match=message):
        from_config(config)


def test_a_decoder_alone_reads_nothing_unless_asked() -> None:
    """Its weights of cross attention are there all the same."""
    alone = from_config(changed("bart/1", is_encoder_decoder=False, is_decoder=True))
    assert alone.encoder is None
    assert value(alone, "encoder_tokens", Workload(9)) == 0
    both = from_config(changed("bart/1"))
    assert value(alone, "cache_elements", Workload(9)) * 2 == value(both, "cache_elements", Workload(9))
    asked = Workload(9, encoder_tokens=5)
    assert value(alone, "cache_elements", asked) == value(both, "cache_elements", asked)

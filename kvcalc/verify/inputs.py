"""What a live model is given: a prefill's ids or frames, one more token's, and what an encoder would have made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvcalc.verify.build import Live

READ = 24  # tokens that cross attention reads, where it reads another model's output


def prefill_inputs(torch: Any, live: Live, tokens: int, encoder_tokens: int) -> dict[str, Any]:
    """A prefill's."""

    def ids(length: int) -> Any:
        return torch.zeros(_rows(live), length, dtype=torch.long, device="meta")

    def written(length: int) -> Any:
        return torch.zeros(*_written(live, length), dtype=torch.long, device="meta")

    if not getattr(live.config, "is_encoder_decoder", False):
        return {"input_ids": ids(tokens), "use_cache": True}
    told = {"decoder_input_ids": written(tokens), "use_cache": True}
    if live.model.main_input_name == "input_features":  # two frames of a spectrogram a token
        bins = getattr(live.config, "num_mel_bins", 80)
        return {"input_features": torch.zeros(1, bins, 2 * encoder_tokens, device="meta"), **told}
    return {"input_ids": ids(encoder_tokens), **told}


def other_inputs(
    torch: Any, live: Live, told: dict[str, Any], encoder_tokens: int, encodes: bool
) -> Iterator[tuple[dict[str, Any], int]]:
    """Other calls of an encoder-decoder, and how many tokens an encoder is said to have made; 0: it runs itself."""
    if not getattr(live.config, "is_encoder_decoder", False):
        return
    yield {name: value for name, value in told.items() if name != "use_cache"}, 0
    if not encodes and not towers_of(live.config):
        return  # whose weights are not told from the language model's
    written = {name: value for name, value in told.items() if name.startswith("decoder_")}
    widths = dict.fromkeys(
        getattr(part, "hidden_size", None) for part in (*parts_of(live.config), live.text, live.config)
    )
    for width in widths:
        if isinstance(width, int):
            read = encoder_tokens or READ
            made = _encoded(torch.zeros(1, read, width, device="meta"))
            yield {**written, "encoder_outputs": made, "use_cache": True}, read
            yield {**written, "encoder_outputs": made}, read


def step_inputs(torch: Any, live: Live, given: Any) -> dict[str, Any]:
    """One more token's."""
    one = torch.zeros(*_written(live, 1), dtype=torch.long, device="meta")
    if not getattr(live.config, "is_encoder_decoder", False):
        return {"input_ids": one}
    return {"decoder_input_ids": one, "encoder_outputs": _encoded(given["encoder_last_hidden_state"])}


def _written(live: Live, length: int) -> tuple[int, ...]:
    """The shape of a decoder's ids: Dia's have a channel each."""
    if live.config.model_type == "dia":
        return (1, length, live.config.decoder_config.num_channels)
    return (_rows(live), length)


def _rows(live: Live) -> int:
    """Rows of ids for one sequence: MusicGen takes one a codebook, all together one token."""
    return live.config.num_codebooks if live.config.model_type.startswith("musicgen") else 1


def _encoded(states: Any) -> Any:
    """An encoder's output, with all that code asks of one."""
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    made = BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=states)
    made.attention_mask = None
    return made


def towers_of(config: Any) -> list[Any]:
    """The configs of an encoder-decoder's parts that read no text, at any depth."""
    named = [(name, getattr(config, name, None)) for name in config.sub_configs]
    found = [part for name, part in named if part is not None and ("vision" in name or "audio" in name)]
    inner = [part for _, part in named if hasattr(part, "sub_configs")]
    return found + [tower for part in inner for tower in towers_of(part)]


def parts_of(config: Any) -> list[Any]:
    """The configs nested in a config."""
    return [part for name in config.sub_configs if (part := getattr(config, name, None)) is not None]

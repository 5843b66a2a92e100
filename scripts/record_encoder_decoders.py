"""Record what live encoder-decoders of the Transformers library do: tests/truth/encoder_decoders.jsonl.

Reads JSON lines {"id", "config"}, and where a part of the model is left out {"without": [prefixes of its weights],
"encoder_hidden_size"}; writes for each the parameters, the elements its cache holds after a prefill, and what torch's
FlopCounterMode counts for the prefill of one decoder token, the encoder before it, and for the step after it:

    python scripts/record_encoder_decoders.py < configs.jsonl > tests/truth/encoder_decoders.jsonl

Models stand on the meta device; where code looks at values, on the CPU.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import torch
import transformers
from record_truth import elements
from torch.utils.flop_counter import FlopCounterMode
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

MAPPINGS = ("SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ", "IMAGE_TEXT_TO_TEXT")
ENCODER_TOKENS, DECODER_TOKENS = 40, 13


class Encoded(BaseModelOutputWithPooling):  # type: ignore[misc]  # typed only where the library is installed
    """What an encoder gives, with the fields that some decoders look for."""

    attention_mask = None
    router_logits = None
    router_probs = None


def encoded(states: Any) -> Encoded:
    """Hidden states as an encoder gives them; one class reads them as its pooler's."""
    return Encoded(last_hidden_state=states, pooler_output=states)


def build(config: dict[str, Any], device: str) -> Any:
    """The model, without weights of meaning."""
    model_type = config["model_type"]
    mapped = (getattr(modeling_auto, f"MODEL_FOR_{name}_MAPPING_NAMES").get(model_type) for name in MAPPINGS)
    kind = getattr(transformers, next(name for name in mapped if name))
    made = CONFIG_MAPPING[model_type](**{key: told for key, told in config.items() if key != "model_type"})
    made._attn_implementation = "eager"  # as the library's own from_config does
    with torch.device(device):
        return kind(made).eval()


def inputs(model: Any, told: dict[str, Any], tokens: int, device: str) -> dict[str, Any]:
    """What a model reads: ids, frames or samples, or what the part left out would have given."""
    config, name = model.config, model.main_input_name
    if config.model_type == "whisper":
        return {name: torch.zeros(1, config.num_mel_bins, 2 * config.max_source_positions, device=device)}
    if config.model_type == "speech_to_text":
        return {name: torch.zeros(1, 4 * tokens, config.input_feat_per_channel, device=device)}
    if config.model_type == "moonshine":
        return {name: torch.zeros(1, 400 * tokens, device=device)}
    if config.model_type == "moonshine_streaming":  # frames of 80 samples, two strides of 2
        return {name: torch.zeros(1, 4 * 80 * tokens, device=device)}
    if name == "input_ids" and "encoder_hidden_size" not in told:
        return {name: torch.ones(1, tokens, dtype=torch.long, device=device)}
    width = told.get("encoder_hidden_size") or config.get_text_config(decoder=True).hidden_size
    return {"encoder_outputs": encoded(torch.zeros(1, tokens, width, device=device))}


def counted(model: Any, **told: Any) -> tuple[Any, int]:
    """The output of a call and its FLOPs."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = model(**told)
    return output, counter.get_total_flops()


def observed(told: dict[str, Any], device: str) -> dict[str, Any]:
    """What a model does on one device."""
    model = build(told["config"], device)
    read = inputs(model, told, ENCODER_TOKENS, device)
    if model.config.model_type in ("pix2struct", "dia"):  # which cache where they are asked to
        read["use_cache"] = True
    channels = getattr(model.config.get_text_config(decoder=True), "num_channels", None)
    listens = model.config.model_type == "dia"

    def ids(tokens: int) -> Any:
        shape = (1, tokens, channels) if listens else (1, tokens)
        return torch.ones(shape, dtype=torch.long, device=device)

    first, prefill = counted(model, decoder_input_ids=ids(1), **read)
    cache = first.past_key_values
    held = {"1": elements(cache)}
    cross = cache.cross_attention_cache.layers[0].keys.shape[2]
    found = {"encoder_tokens": cross, "parameters": 0, "cache": held}
    output = read.get("encoder_outputs") or encoded(first.encoder_last_hidden_state)
    _, step = counted(model, decoder_input_ids=ids(1), encoder_outputs=output, past_key_values=cache)
    longer, _ = counted(model, decoder_input_ids=ids(DECODER_TOKENS), **read)
    held[str(DECODER_TOKENS)] = elements(longer.past_key_values)
    return {**found, "flops": {"prefill": prefill, "decode": step}}


def record(told: dict[str, Any]) -> dict[str, Any]:
    """What the library does with a config."""
    try:
        model = build(told["config"], "meta")
    except Exception as error:  # whatever it refuses a config with
        return {"refused": f"{type(error).__name__}: {str(error)[:120]}"}
    without = tuple(told.get("without", ()))
    weights = {name: weight.numel() for name, weight in model.named_parameters()}
    parameters = sum(size for name, size in weights.items() if not name.startswith(without or ("*",)))
    failed = ""
    for device in ("meta", "cpu"):
        try:
            return {**observed(told, device), "parameters": parameters}
        except Exception as error:  # whatever stops the code
            failed = f"{type(error).__name__}: {str(error)[:120]}"
    return {"parameters": parameters, "forward_error": failed}


def main() -> None:
    """Read configs, write records."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    for line in sys.stdin:
        told = {key: value for key, value in json.loads(line).items() if key in ASKED}
        sys.stdout.write(json.dumps({**told, **record(told)}, separators=(",", ":")) + "\n")


ASKED = ("id", "config", "without", "encoder_hidden_size")


if __name__ == "__main__":
    main()

"""vLLM: bytes of a token in one layer on one rank, by the dtype of the cache, and the block sizes of its kernels.

Sources: vllm/v1/kv_cache_interface.py (page sizes of the specs), vllm/v1/attention/backends (block sizes, layouts),
vllm/platforms/interface.py update_block_size_for_backend, of 0.33.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvcalc.errors import KvcalcError

if TYPE_CHECKING:
    from kvcalc.engines.layers import KvHeads, Vector
    from kvcalc.workload import Workload

# Bytes of 32 elements of one head of one token, and bytes beside them (a scale, a zero point): of K and of V.
SIDES: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "fp32": ((128, 0), (128, 0)),
    "bf16": ((64, 0), (64, 0)),
    "fp8": ((32, 0), (32, 0)),
    "fp8_e4m3": ((32, 0), (32, 0)),
    "fp8_e5m2": ((32, 0), (32, 0)),
    "int8_per_token_head": ((32, 4), (32, 4)),
    "fp8_per_token_head": ((32, 4), (32, 4)),
    "int4_per_token_head": ((16, 4), (16, 4)),
    "nvfp4": ((18, 0), (18, 0)),
    "nvfp4_4over6": ((18, 0), (18, 0)),
    "turboquant_k8v4": ((32, 0), (16, 4)),
    "turboquant_4bit_nc": ((16, 2), (16, 4)),
    "turboquant_k3v4_nc": ((12, 2), (16, 4)),
    "turboquant_3bit_nc": ((12, 2), (12, 4)),
    "ultraquant_4bit": ((17, 0), (17, 0)),
}
BLACKWELL = ("nvfp4", "nvfp4_4over6", "ultraquant_4bit")
LATENTS = ("fp8_ds_mla", "nvfp4_ds_mla")
KV_CACHE_DTYPES = ("auto", *(name for name in SIDES if name not in ("fp32", "bf16")), *LATENTS)
PLAIN = {"bf16": "bf16", "fp16": "bf16", "fp32": "fp32", "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8_e5m2"}
KERNELS = {"h100": 16, "a100": 16, "b200": 16}  # FLASH_ATTN, FLASHINFER
LATENT_KERNELS = {"h100": 16, "a100": 16, "b200": 32}  # FLASH_ATTN_MLA, TRITON_MLA, FLASHINFER_MLA
INDEXED_KERNEL = 64  # sparse MLA and its indexer
FLASHMLA_KERNEL = 64  # fp8 latents on Hopper
TURBOQUANT_KERNEL = 32  # TurboQuant beside FlashAttention
UNQUANTIZED_ENDS = 4  # TurboQuant keeps the first and the last two layers as they are


def cache_dtype(workload: Workload, option: str) -> str:
    """The layout of the cache: as the option says, else as --dtype does. Raises KvcalcError where vLLM has none."""
    if workload.dtype_k or workload.dtype_v:
        raise KvcalcError("vllm: K and V are stored alike: --dtype-k and --dtype-v are not its", "--dtype, for both")
    if option != "auto":
        return option
    if workload.dtype not in PLAIN:
        raise KvcalcError(
            f"vllm: it has no cache of plain {workload.dtype}",
            f"--engine-option kv_cache_dtype=... of {', '.join(KV_CACHE_DTYPES[1:])}",
        )
    return PLAIN[workload.dtype]


def model_bytes(workload: Workload) -> int:
    """Bytes of an element of the model's own dtype, which convolutions keep whatever the cache's."""
    return 4 if workload.dtype == "fp32" else 2


def head_bytes(dtype: str, d_k: int, d_v: int) -> int:
    """Bytes of K and V of one head of one token."""
    if dtype not in SIDES:
        raise KvcalcError(f"vllm: kv_cache_dtype={dtype} is for latents, and these are heads", "fp8, for one")
    return sum(-(-d * each // 32) + beside for d, (each, beside) in zip((d_k, d_v), SIDES[dtype], strict=True))


def vector_bytes(kind: Vector, dtype: str, *, indexed: bool, gpu: str) -> int:
    """Bytes of a latent or of an index's key of one token; sparse attention on Hopper lays fp8 out as fp8_ds_mla."""
    if kind.role == "block key":
        return 2 * kind.elements  # bf16 whatever the layout: indexer_kv_dtype
    if kind.role == "key":
        return kind.elements + 4 * -(-kind.elements // 128)
    plain = kind.elements - kind.rope
    if dtype == "fp8_ds_mla" or (indexed and dtype in ("fp8", "fp8_e4m3") and gpu != "b200"):
        return plain + 4 * -(-plain // 128) + 2 * kind.rope
    if dtype == "nvfp4_ds_mla":
        return plain // 2 + plain // 16 + kind.rope
    sizes = {"fp32": 4, "bf16": 2, "fp8": 1, "fp8_e4m3": 1}
    if dtype not in sizes:
        raise KvcalcError(f"vllm: kv_cache_dtype={dtype} is not for latents", "fp8 or fp8_ds_mla")
    return sizes[dtype] * kind.elements


def kernel_block(heads: list[KvHeads], vectors: list[Vector], dtype: str, gpu: str, *, old: bool = False) -> int:
    """Tokens of the smallest block that every backend takes; before 0.33 latents on Hopper are FlashMLA's."""
    if heads and dtype in BLACKWELL and gpu != "b200":
        raise KvcalcError(f"vllm: no attention backend of an {gpu} takes kv_cache_dtype={dtype}", "gpu_class=b200")
    found = [KERNELS[gpu], *(kind.blocks for kind in heads)] if heads else []
    if any(kind.role == "key" for kind in vectors):
        found.append(INDEXED_KERNEL)
    elif any(kind.role == "latent" for kind in vectors):
        flash_mla = gpu == "h100" and (old or dtype != "bf16")
        found.append(FLASHMLA_KERNEL if flash_mla else LATENT_KERNELS[gpu])
    if dtype.startswith("turboquant"):
        found.append(TURBOQUANT_KERNEL)
    return max(found, default=16)


def rank_heads(kind: KvHeads, tp: int) -> int:
    """Heads of K and V on one of tp ranks: their share, or one head that several ranks repeat."""
    n_kv = kind.kv_heads
    if (n_kv >= tp and n_kv % tp) or (n_kv < tp and tp % n_kv):
        raise KvcalcError(f"{n_kv} heads of K and V do not divide over --tp {tp}, nor the other way round")
    return max(1, n_kv // tp)

"""What stands behind attention in a layer: a plain or gated MLP, or a mixture of experts."""

from __future__ import annotations

from kvcalc.attention.memory import Weights, Work
from kvcalc.tuples import NamedTuple

SOURCE_MLP = "Attention Is All You Need (arXiv:1706.03762) sec. 3.3; gated: GLU Variants (arXiv:2002.05202)"
SOURCE_LATENT = "Nemotron 3 (arXiv:2512.20856) sec. 2: LatentMoE"
SOURCE_MOE = "DeepSeekMoE (arXiv:2401.06066) sec. 3; Mixtral (arXiv:2401.04088) sec. 2.1"


class Dense(NamedTuple):
    """Up, down and, where gated, gate matrices of width d_ff. `shares_weights`: an earlier layer's, run again."""

    intermediate_size: int
    gated: bool
    bias: bool = False
    shares_weights: bool = False
    kind: str = "dense"

    @property
    def label(self) -> str:
        """As tables show it."""
        return f"{'gated ' if self.gated else ''}MLP {self.intermediate_size}"

    @property
    def source(self) -> str:
        """Where it is described."""
        return SOURCE_MLP

    def symbols(self) -> dict[str, int]:
        """d_ff."""
        return {"d_ff": self.intermediate_size}

    def flops(self) -> tuple[Work, ...]:
        """Three matmuls where gated, else two."""
        return (Work(self.label, "token", "6*d*d_ff" if self.gated else "4*d*d_ff", SOURCE_MLP),)

    def weights(self) -> tuple[Weights, ...]:
        """Matrices and biases."""
        if self.shares_weights:
            return ()
        matrices = Weights("MLP", "3*d*d_ff" if self.gated else "2*d*d_ff")
        biases = Weights("MLP bias", "2*d_ff + d" if self.gated else "d_ff + d")
        return (matrices, biases) if self.bias else (matrices,)

    def idle_weights(self) -> tuple[Weights, ...]:
        """Every token visits all of it."""
        return ()


class Experts(NamedTuple):
    """E routed experts of width d_e, k of them a token, a router, and shared experts of d_s in all.

    `latent_size`: routed experts read and write d_l elements, between two projections that all have (LatentMoE);
    `latent_norm`: what they wrote is normed before the second.
    `matrix_router`: the router is a matrix of d by E; where it is not, it stands among a layer's extras.
    `runs_all`: the Transformers library runs every expert on every token, as no server does.
    """

    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    gated: bool
    shared_intermediate_size: int = 0
    shared_gate: bool = False
    shared_bias: bool = False
    expert_bias: bool = False
    router_bias: bool = False
    latent_size: int = 0
    latent_norm: bool = False
    matrix_router: bool = True
    runs_all: bool = False
    kind: str = "moe"

    @property
    def label(self) -> str:
        """As tables show it."""
        shared = f" + shared {self.shared_intermediate_size}" if self.shared_intermediate_size else ""
        return f"MoE {self.num_experts_per_tok} of {self.num_experts} x {self.moe_intermediate_size}{shared}"

    @property
    def source(self) -> str:
        """Where it is described."""
        return SOURCE_MOE

    def symbols(self) -> dict[str, int]:
        """E, k, d_e, d_s where there are shared experts, d_l with a latent."""
        routed = {"E": self.num_experts, "k": self.num_experts_per_tok, "d_e": self.moe_intermediate_size}
        widths = {"d_s": self.shared_intermediate_size, "d_l": self.latent_size}
        return {**routed, **{name: width for name, width in widths.items() if width}}

    @property
    def _width(self) -> str:
        return "d_l" if self.latent_size else "d"

    def flops(self) -> tuple[Work, ...]:
        """Only the experts a token visits."""
        matmuls = 6 if self.gated else 4
        runs = "all" if self.runs_all else ""
        parts = [Work("routed experts", "token", f"{matmuls}*{self._width}*d_e*k", SOURCE_MOE, runs=runs)]
        if self.matrix_router:
            parts.append(Work("router", "token", "2*d*E", SOURCE_MOE))
        if self.latent_size:
            parts.append(Work("latent of the experts", "token", "2*2*d*d_l", SOURCE_LATENT))
        if self.shared_intermediate_size:
            parts.append(Work("shared experts", "token", f"{matmuls}*d*d_s", SOURCE_MOE))
        if self.shared_gate:
            parts.append(Work("shared expert gate", "token", "2*d", "Qwen2-MoE: a sigmoid gate on the shared expert"))
        return tuple(parts)

    def _expert(self) -> str:
        matrices = f"{3 if self.gated else 2}*{self._width}*d_e"
        return f"({matrices}{f' + {self._bias()}' if self.expert_bias else ''})"

    def _bias(self) -> str:
        return "2*d_e + d" if self.gated else "d_e + d"

    def weights(self) -> tuple[Weights, ...]:
        """All experts, the router and what is shared. A correction bias that is a buffer is no parameter."""
        parts = [Weights("routed experts", f"E*{3 if self.gated else 2}*{self._width}*d_e")]
        if self.expert_bias:
            parts.append(Weights("routed experts' bias", f"E*({self._bias()})"))
        if self.matrix_router:
            parts.append(Weights("router", "d*E"))
        if self.latent_size:
            parts.append(Weights("latent of the experts", "2*d*d_l + d_l" if self.latent_norm else "2*d*d_l"))
        if self.router_bias:
            parts.append(Weights("router bias", "E"))
        if self.shared_intermediate_size:
            parts.append(Weights("shared experts", "3*d*d_s" if self.gated else "2*d*d_s"))
            if self.shared_bias:
                parts.append(Weights("shared experts' bias", "2*d_s + d" if self.gated else "d_s + d"))
        if self.shared_gate:
            parts.append(Weights("shared expert gate", "d"))
        return tuple(parts)

    def idle_weights(self) -> tuple[Weights, ...]:
        """Experts a token does not visit."""
        return (Weights("experts not visited", f"(E - k)*{self._expert()}"),)


FeedForward = Dense | Experts

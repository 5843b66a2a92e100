"""A layer's attention as tensors listed by shape, and its matmuls by the shapes that meet in them.

A matrix of a by b costs a token 2*a*b FLOPs; whatever else is counted is added by name of what it grows with.
"""

from __future__ import annotations

from math import prod


class Tensors:
    """What one attention has: parameters, FLOPs, and what it keeps, by the role that decides its dtype."""

    def __init__(self) -> None:
        self.parameters = 0
        self.made_parameters = 0  # of them, those that make what is stored
        self.idle = 0  # of them, those that a token does not visit
        self.per_pair = 0
        self.per_token = 0
        self.made_per_token = 0  # to make what is stored
        self.per_key = 0  # for every row that is expanded again
        self.mixing = 0  # per token, of a fixed state
        self.stores: list[tuple[str, int, int]] = []  # role, elements of a token, those of the library
        self.states: list[tuple[str, int, int]] = []

    def matrix(self, *shape: int, made: bool = False, times: int = 1, idle: int = 0) -> None:
        """So many matrices that every token passes; `idle` more that it does not."""
        self.vector(prod(shape) * (times + idle), made=made)
        self.idle += prod(shape) * idle
        self.token(2 * prod(shape) * times, made=made)

    def vector(self, *shape: int, made: bool = False) -> None:
        """Parameters without a matmul: biases, norms, tables."""
        self.parameters += prod(shape)
        self.made_parameters += prod(shape) * made

    def token(self, flops: int, *, made: bool = False) -> None:
        """FLOPs of a token beside its own matrices."""
        if made:
            self.made_per_token += flops
        else:
            self.per_token += flops

    def heads(self, heads: int, width: int) -> None:
        """One dot product a pair, or one sum of vectors, of so many heads."""
        for _ in range(heads):
            self.per_pair += 2 * width

    def store(self, role: str, elements: int, library: int | None = None) -> None:
        """What a token leaves: a tensor of its own, which is rounded to blocks alone."""
        self.stores.append((role, elements, elements if library is None else library))

    def state(self, elements: int) -> None:
        """A recurrent state; parts of one are of one tensor."""
        self.states.append(("state", elements, elements))

    def last(self, columns: int, channels: int, library: int | None = None) -> None:
        """The last inputs of something."""
        kept = columns if library is None else library
        self.states.append(("conv", columns * channels, kept * channels))

    def columns(self, kernel: int, channels: int, *, library_all: bool = True, bias: bool = False) -> None:
        """A depthwise convolution: its weights, its FLOPs, its last inputs, of which the library keeps one more."""
        self.vector(kernel, channels)
        self.vector(channels * bias)
        self.token(2 * kernel * channels)
        self.last(kernel - 1, channels, kernel if library_all else kernel - 1)

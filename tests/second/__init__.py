"""A second derivation of every number, from the papers: masks by loops, layers one by one, tensors listed by shape.

It reads the same documents that kvcalc reads and calls none of its formulas. `python -m second` compares.
"""

"""Accelerators as data, and what a machine of them is: '8xH100'. Nothing here knows a model."""

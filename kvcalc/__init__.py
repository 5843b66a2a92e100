"""kvcalc: what one token costs to remember and to attend to, exactly, with the formula shown."""

__version__ = "0.1.0"

"""The three axes of attention: memory (what a token leaves behind), reach (what a query sees), sharing (whose)."""

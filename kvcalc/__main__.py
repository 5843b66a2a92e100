"""`python -m kvcalc` is `kvcalc`."""

from kvcalc.cli.start import main

main()

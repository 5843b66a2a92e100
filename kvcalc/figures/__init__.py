"""Figures as data: what a plot shows, exact, before anything draws it. kvcalc.report draws them."""

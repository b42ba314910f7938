"""Figures: house style, reproducible files, and one file per subject. No torch."""

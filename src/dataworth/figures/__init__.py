"""All drawing: house style, axes, and one file per subject. No torch."""

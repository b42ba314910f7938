"""Measured errors -> laws -> posterior -> forecast. Numerics only: imports numpy and scipy."""

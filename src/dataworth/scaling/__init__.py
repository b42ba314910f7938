"""Scaling laws: measured errors -> posterior over laws -> forecasts. Only numpy and scipy."""

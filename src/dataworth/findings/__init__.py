"""Findings of an evaluated study, as tables and sentences. No torch."""

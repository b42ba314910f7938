"""Report: one self-contained HTML page about a study."""

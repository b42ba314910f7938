"""Conformal prediction: nonconformity scores, thresholds on a calibration set, coverage on test."""

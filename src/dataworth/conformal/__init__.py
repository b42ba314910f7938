"""Conformal prediction: nonconformity scores, calibrated thresholds, measured coverage."""

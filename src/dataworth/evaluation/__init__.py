"""Evaluation: logits -> ranks -> errors with intervals -> typed records -> metrics.json."""

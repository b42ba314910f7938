"""Logits -> ranks of the true label -> errors with intervals -> typed records -> metrics.json."""

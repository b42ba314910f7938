"""From a trained run to labels, and to sets of labels that can be relied on."""

"""What every child needs, imported once. Nothing is computed here: a fork must find no threads."""

import datasets  # noqa: F401
import sklearn.datasets  # noqa: F401

import dataworth.commands.eval_output
import dataworth.commands.planning
import dataworth.commands.train
import dataworth.data.prepare
import dataworth.evaluation.evaluator
import dataworth.evaluation.tables
import dataworth.figures.style  # noqa: F401
from dataworth.models.registry import accepts_image_size

# On torch's meta device, which imports two seconds of compiler.
accepts_image_size("alexnet-small", 32)

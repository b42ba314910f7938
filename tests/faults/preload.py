"""What every child needs, imported once. Nothing is computed here: a fork must find no threads."""

import datasets  # noqa: F401
import sklearn.datasets  # noqa: F401

import dataworth.commands.eval_output
import dataworth.commands.planning
import dataworth.commands.train
import dataworth.data.prepare
import dataworth.evaluation.evaluator
import dataworth.evaluation.tables
import dataworth.figures.scaling
import dataworth.figures.worth  # noqa: F401

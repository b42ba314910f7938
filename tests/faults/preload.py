"""What every child needs, imported once. Nothing is computed here: a fork must find no threads."""

import datasets  # noqa: F401
import sklearn.datasets  # noqa: F401

import src.cli
import src.data.prepare
import src.evaluation.evaluator
import src.evaluation.results
import src.launchers
import src.planning
import src.scaling.findings
import src.scaling.plots  # noqa: F401
from src.models import accepts

accepts("alexnet-small", 32)  # on torch's meta device, which imports two seconds of compiler

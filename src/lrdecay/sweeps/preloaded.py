"""Imports what a run imports, at its beginning or later: for the process that the jobs of a sweep are forked from."""

from lrdecay.imports import importing

with importing():
    import sklearn.datasets
    import torch._dynamo
    import torch.utils.tensorboard

    import lrdecay.reports.figures
    import lrdecay.runs.run

__all__ = ["lrdecay", "sklearn", "torch"]

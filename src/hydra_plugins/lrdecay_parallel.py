"""Where Hydra looks for launchers: it takes none from anywhere else than this namespace."""

from lrdecay.sweeps import parallel


class ParallelLauncher(parallel.ParallelLauncher):
    __doc__ = parallel.ParallelLauncher.__doc__

"""Where Hydra looks for launchers and sweepers: it takes none from anywhere else than this namespace."""

from lrdecay.sweeps import grid, parallel


class ParallelLauncher(parallel.ParallelLauncher):
    __doc__ = parallel.ParallelLauncher.__doc__


class Grid(grid.Grid):
    __doc__ = grid.Grid.__doc__

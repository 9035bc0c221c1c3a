"""Where Hydra looks for launchers and sweepers: it takes none from anywhere else than this namespace."""

from lrdecay.sweeps import grid, on_ray, on_slurm, parallel, search


class ParallelLauncher(parallel.ParallelLauncher):
    __doc__ = parallel.ParallelLauncher.__doc__


class Grid(grid.Grid):
    __doc__ = grid.Grid.__doc__


class Search(search.Search):
    __doc__ = search.Search.__doc__


class RayLauncher(on_ray.RayLauncher):
    __doc__ = on_ray.RayLauncher.__doc__


class SlurmLauncher(on_slurm.SlurmLauncher):
    __doc__ = on_slurm.SlurmLauncher.__doc__

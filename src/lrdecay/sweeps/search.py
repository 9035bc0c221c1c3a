"""``hydra/sweeper=optuna``: values that Optuna chooses, trial by trial, and the comparison at their end.

Imported at every start of ``train.py``, so nothing heavy is imported here.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from lrdecay.config.overrides import key_of, names
from lrdecay.errors import ConfigError, is_integer, require_integer
from lrdecay.metrics import metrics_of
from lrdecay.records.locks import locked, rank
from lrdecay.sweeps.folders import claim_sweep, set_sweep_folder
from lrdecay.sweeps.grid import Grid, Source, StreamingLauncher, check_resumption, end, launch, read_earlier
from lrdecay.sweeps.space import Space, read_space
from lrdecay.text import plural

if TYPE_CHECKING:
    import optuna

    from lrdecay.config.variants import Variants
    from lrdecay.sweeps.plan import Job

BEST = "-best"
"""Follows the name of a search: the comparison of the best setting of each schedule."""
FRESH = 1001
"""The first of the seeds with which they are compared."""
UNPRUNED = "hydra.sweeper.pruner=null"


class Search(Grid):
    """Runs trials whose values Optuna chooses, a new one as soon as there is a place for it, and compares all runs.

    The study lies in the folder of the sweep. The same command with the same ``name=`` resumes it: finished trials are
    kept, those that were interrupted resume, and ``n_trials`` counts all of them.

    Args:
        params: spaces and values beside those on the command line, by key.
        n_trials: of the whole search.
        seeds: runs of a trial, with seeds 1, 2, …; its objective is their mean.
        objective: what is searched for, a metric of validation, or ``seconds``, or a list of several.
        sampler: see `lrdecay.sweeps.study.SAMPLERS`.
        sampler_seed: of its random numbers.
        storage: URL of a database; ``None`` for a journal in the folder.
        pruner: which trials are stopped early, see `lrdecay.records.studies.make_pruner`; ``None`` for none.
        prune_after: the fraction of its run, in percent, that every trial gets.
        fresh_seeds: runs of the best setting of each schedule in the end, with seeds that have chosen nothing; 0 for
            no such comparison.

    Raises:
        ConfigError: a value cannot be used.
    """

    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        n_trials: int = 20,
        seeds: int = 1,
        objective: str | Sequence[str] = "val/acc",
        sampler: str = "tpe",
        sampler_seed: int = 1,
        storage: str | None = None,
        pruner: str | None = None,
        prune_after: int = 25,
        fresh_seeds: int = 3,
    ) -> None:
        super().__init__(params)
        from lrdecay.sweeps.study import SAMPLERS

        self.objectives = [objective] if isinstance(objective, str) else [str(name) for name in objective]
        require_integer("hydra.sweeper.n_trials", n_trials)
        require_integer("hydra.sweeper.seeds", seeds)
        if not is_integer(sampler_seed) or not 0 <= sampler_seed < 2**31:
            raise ConfigError(f"hydra.sweeper.sampler_seed={sampler_seed}: must be an integer, at least 0")
        if sampler not in SAMPLERS:
            raise ConfigError(f"hydra.sweeper.sampler={sampler}: must be one of {', '.join(SAMPLERS)}")
        self.n_trials, self.seeds, self.sampler = n_trials, seeds, sampler
        self.sampler_seed, self.storage = sampler_seed, storage
        self.pruner = pruner
        self._check_pruner(pruner, prune_after)
        require_integer("hydra.sweeper.fresh_seeds", fresh_seeds, least=0)
        self.fresh_seeds = fresh_seeds

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)
        # Measured by validation, never on test items; and the time of training.
        self.metrics = metrics_of(config)
        allowed, objectives = (*self.metrics.monitored, "seconds"), self.objectives
        if not objectives or not set(objectives) <= set(allowed):
            given = objectives[0] if len(objectives) == 1 else objectives
            raise ConfigError(f"hydra.sweeper.objective={given}: must be among {', '.join(allowed)}")
        if self.pruner is not None and (self.seeds > 1 or len(objectives) > 1 or objectives == ["seconds"]):
            raise ConfigError(
                f"hydra.sweeper.pruner={self.pruner}: needs hydra.sweeper.seeds=1 and a single objective, "
                f"{' or '.join(self.metrics.monitored)}"
            )

    def _check_pruner(self, pruner: str | None, after: int) -> None:
        from lrdecay.records.studies import PRUNERS

        if pruner is not None and pruner not in PRUNERS:
            raise ConfigError(f"hydra.sweeper.pruner={pruner}: must be one of {', '.join(PRUNERS)}, or null")
        if not is_integer(after) or not 1 <= after <= 99:
            raise ConfigError(f"hydra.sweeper.prune_after={after}: must be a percentage of the run, 1 to 99")

    def sweep(self, arguments: list[str]) -> None:
        """Runs the trials that are missing, and says which is the best; ends with status 1 if a run failed.

        Raises:
            ConfigError: the space cannot be searched; nothing was run.
        """
        from lrdecay.config.variants import Variants

        config, loader = self.of_the_sweep, self.context.config_loader
        words = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        space = read_space(words, list(config.hydra.runtime.choices), loader)
        self._check(space)
        variants = Variants(loader)
        self._check_keys(space, variants)  # a mistake is found before a folder is made
        folder = Path(claim_sweep(config.hydra.sweep.dir, config.get("name")))
        with locked(folder):
            study = self._open(space, folder)
            jobs = self._run_trials(study, space, variants, folder)
            if rank() == 0:
                self._tell(study, folder)
                failed, made = self._compare(list(jobs.values()), folder), len(jobs)
                if best := self._best_settings(study, space, variants):
                    failed += self._compare_best(best, space, variants, folder.with_name(f"{folder.name}{BEST}"))
                    made += len(best)
                end(failed, made)

    def _open(self, space: Space, folder: Path) -> "optuna.Study":
        from lrdecay.sweeps.study import begun, make_sampler, open_study

        kept = {
            "fixed": sorted(space.fixed),
            "space": sorted(one.given for one in space.dimensions),
            "seeds": f"hydra.sweeper.seeds={self.seeds}",
        }
        study = open_study(folder, self.storage, self.objectives, self.metrics, **kept)
        # Resumed with the same seed it would begin with the same random trials.
        study.sampler = make_sampler(self.sampler, self.sampler_seed + begun(study))
        return study

    def _run_trials(self, study: "optuna.Study", space: Space, variants: "Variants", folder: Path) -> "dict[int, Job]":
        """Runs what is missing of all trials, and gives the jobs of those that there were to run."""
        from lrdecay.sweeps.announcements import Announcements
        from lrdecay.sweeps.earlier import Earlier
        from lrdecay.sweeps.study import begun, enqueue_failed, enqueue_grid
        from lrdecay.sweeps.trials import Trials

        config, earlier = self.of_the_sweep, Earlier(read_earlier(folder))
        set_sweep_folder(config, folder)
        has = partial(self.has, variants)
        most = enqueue_grid(study, space, has) if self.sampler == "grid" else self.n_trials
        # Those that failed before are tried again, whatever the number.
        count = min(self.n_trials, most) + enqueue_failed(study)
        jobs: dict[int, Job] = {}
        total = count * self.seeds
        announcements = Announcements(jobs, total, total - begun(study) * self.seeds, self.context.callbacks)
        print(f"{plural(count, 'trial')} of {plural(self.seeds, 'run')} → {folder}", flush=True)
        trials = Trials(
            study, space, config, variants, has, self.seeds, self.objectives, earlier, announcements, count, jobs
        )
        context = HydraContext(variants, cast(Any, announcements))
        stream(Plugins.instance().instantiate_launcher(context, self.task, config), trials)
        return jobs

    def _tell(self, study: "optuna.Study", folder: Path) -> None:
        from lrdecay.files import write_atomically
        from lrdecay.reports.console import relative
        from lrdecay.reports.search import search_page
        from lrdecay.sweeps.study import told

        lines = told(study, self.objectives, self.metrics)
        print("\n".join(lines), flush=True)
        if study.best_trials:
            page = folder / "search.html"
            write_atomically(page, search_page(study, self.objectives, lines).encode())
            print(relative(page), flush=True)

    def _best_settings(self, study: "optuna.Study", space: Space, variants: "Variants") -> list[list[str]]:
        """The overrides of the best trial of each schedule with each of the fresh seeds, where there are several."""
        from lrdecay.sweeps.study import best_of_each

        best = best_of_each(study, "schedule") if len(self.objectives) == 1 else []
        if len(best) < 2:
            return []
        has = partial(self.has, variants)
        settings = [[w for w in space.suggest(trial, has) if key_of(w) != "seed"] for trial in best]
        seeds = range(FRESH, FRESH + self.fresh_seeds)
        return [[*words, f"seed={seed}", UNPRUNED] for words in settings for seed in seeds]

    def _compare_best(self, best: list[list[str]], space: Space, variants: "Variants", folder: Path) -> int:
        """Runs the best settings with seeds that have chosen nothing, and compares them; how many did not complete."""
        from lrdecay.sweeps.earlier import Earlier
        from lrdecay.sweeps.plan import plan

        print("\nThe best setting of each schedule, with seeds that have chosen nothing", flush=True)
        folder.mkdir(exist_ok=True)
        with locked(folder):
            earlier = Earlier(read_earlier(folder))
            set_sweep_folder(self.of_the_sweep, folder)
            jobs = plan(variants, self.of_the_sweep, best, [key_of(word) for word in (*space.fixed, UNPRUNED)])
            earlier.assign(jobs)
            self._launch(jobs, earlier, variants)
            # Without the settings that were the best when there were fewer trials.
            return self._compare(jobs, folder, others=False)

    def _check(self, space: Space) -> None:
        if self.seeds > 1 and any(key_of(word) == "seed" for word in space.fixed):
            raise ConfigError("seed: cannot be combined with hydra.sweeper.seeds, the number of seeds of each trial")
        if any(one.key == "seed" for one in space.dimensions):
            raise ConfigError("seed: cannot be searched over; hydra.sweeper.seeds=3 gives each trial three")
        if any(one.key == "resume" or one.key.startswith("hydra.") for one in space.dimensions):
            raise ConfigError("resume and hydra.*: cannot be searched over")
        check_resumption(space.fixed, self.of_the_sweep)

    def _check_keys(self, space: Space, variants: "Variants") -> None:
        """Refuses choices that do not exist, keys that none of them has, and weights of a run that is not there."""
        from lrdecay.runs.resume import trained_configuration

        groups = self.of_the_sweep.hydra.runtime.choices
        kinds = [one for one in space.dimensions if one.key in groups or "@" in one.key]
        alone = [[*space.fixed, f"{one.key}={choice}"] for one in kinds for choice in one.choices] or [space.fixed]
        for words in alone:
            config = variants.shared(self.of_the_sweep, words)
            trained_configuration(config, names(config, groups), config.hydra)
        for one in space.dimensions:
            if not any(self.has(variants, words, one.key) for words in alone):
                raise ConfigError(f"{one.given}: no such key in this configuration, whatever is chosen")

    def has(self, variants: "Variants", chosen: Sequence[str], key: str) -> bool:
        """Whether a configuration under these overrides has the key."""
        config = variants.shared(self.of_the_sweep, list(chosen))
        if key.startswith("+") or "@" in key or key in config.hydra.runtime.choices:
            return True
        group, _, name = key.rpartition(".")
        node = OmegaConf.select(config, group) if group else config
        return isinstance(node, DictConfig) and name in node


def stream(launcher: Launcher, jobs: Source) -> None:
    """Runs jobs as they come: as many at once as the launcher has places for, or one after the other."""
    if isinstance(launcher, StreamingLauncher):
        launcher.launch_from(jobs)
        return
    while (job := jobs.next()) is not None:
        launch(launcher, [job])
        jobs.ended(job[0])

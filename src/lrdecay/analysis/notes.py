"""What whoever reads a comparison has to know of its runs: failed, cut short, unpaired, of other lengths or code."""

from collections import Counter
from collections.abc import Mapping, Sequence

from lrdecay.analysis.groups import Group
from lrdecay.analysis.settings import seed
from lrdecay.text import listed, plural


def notes_on(groups: Sequence[Group], baselines: Mapping[str, Group]) -> list[str]:
    """A line for each thing that is not as one would take it to be."""
    notes = []
    for g in groups:
        notes += _cut_short(g)
        if not any(run.outcome.status == "completed" for run in g.runs):
            notes.append(f"{g.label}: no run completed")
        elif lost := sum(run.outcome.status == "diverged" for run in g.runs):
            notes.append(f"{g.label}: {lost} of {len(g.runs)} diverged, and have no part in its numbers")
        if went_on := sum(run.progress.divergence is not None for run in g.completed):
            notes.append(f"{g.label}: {went_on} of {len(g.runs)} had a loss that was not finite, and continued")
        notes += _pairing(g, baselines.get(g.label, g))
        twice = [of for of, count in Counter(map(seed, g.completed)).items() if count > 1]
        if twice:
            seeds = ", ".join(map(str, sorted(twice)))
            notes.append(f"{g.label}: several runs of seed {seeds}; each seed counts once, as the mean of its runs")
        if len(lengths := sorted({len(run.progress.epochs) for run in g.completed})) > 1:
            notes.append(f"{g.label}: runs of {' and '.join(map(str, lengths))} epochs")
    completed = [run for g in groups for run in g.completed]
    planned = sorted({run.plan.total_steps for run in completed if run.plan.total_steps is not None})
    if len(planned) > 1:
        notes.append(f"runs of different lengths: {', '.join(f'{steps:,}' for steps in planned)} steps")
    if len({run.plan.code for run in completed}) > 1:
        notes.append("the runs are of different versions of the code")
    for name, what in (("device", "devices"), ("threads", "numbers of threads")):
        if len(there := sorted({str(getattr(run.plan, name)) for run in completed})) > 1:
            notes.append(f"the runs are of different {what}: {', '.join(there)}")
    compared = {g.label for g in groups if g.label in baselines and baselines[g.label] is not g}
    if compared and all(len({seed(run) for run in g.completed}) < 2 for g in groups):
        notes.append("one seed: there are no intervals and no tests; seed=1,2,3,4,5 gives them")
    return notes


def _cut_short(group: Group) -> list[str]:
    """What has to be said of runs that did not reach the end that was planned."""
    if not group.cut_short:
        return []
    runs = listed([f"seed {seed(run)} {run.cut_short}" for run in group.cut_short], most=4)
    if group.cut_short_count:
        return [f"{group.label}: {runs}; its schedule was cut off there"]
    return [f"{group.label}: {runs}; not averaged with complete runs, unless --cut-short"]


def _pairing(group: Group, baseline: Group) -> list[str]:
    """What has to be said where not all seeds of a group are among its baseline's."""
    seeds, others = ({seed(run) for run in g.completed} for g in (group, baseline))
    common = len(seeds & others)
    if not seeds or not others or common == len(seeds | others):
        return []
    if common < 2 <= min(len(seeds), len(others)):
        shared = f"they have {plural(common, 'seed')} in common"
        return [f"{group.label}: compared with {baseline.label} without pairs, since {shared}"]
    return [f"{group.label}: {common} of its {len(seeds)} seeds are in common with {baseline.label}, and are compared"]

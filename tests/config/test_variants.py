"""The configurations of a sweep's jobs, made of one another, are those that Hydra composes for each."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support.programs import ROOT

from lrdecay.config.overrides import expand
from lrdecay.config.variants import Variants
from lrdecay.sweeps.folders import register_resolvers

SWEEPS = {
    "values": ["seed=1,2,3", "optimizer.lr=0.1,0.2", "name=a.b", "hydra.job.name=own"],
    "choices": ["schedule=step,cosine", "model=mlp,cnn", "seed=1,2"],
    "durations": ["schedule=cosine", "schedule.warmup=3,'5%',1ep,null", "seed=1,2"],
    "lists": ["optimizer.betas=[0.9,0.99],[0.8,0.9]", "seed=1,2"],
    "mappings": ["optimizer={lr:0.1},{lr:0.2}", "seed=1,2"],
    "a mapping and a value of it": ["optimizer.lr=0.1,0.2", "optimizer={lr:0.3}", "seed=1,2"],
    "more and fewer keys": ["++trainer.max_steps=3,4", "+own=1,2", "~optimizer.eps", "seed=1,2"],
    "null and not": ["callbacks.checkpoints=null,{}", "seed=1,2"],
    "interpolations": ["seed='${trainer.max_epochs}',2", "trainer.max_epochs=1,2"],
    "what Hydra says of it": ["hydra.job.config.override_dirname.exclude_keys=[seed]", "seed=1,2", "optimizer.lr=1,2"],
}


@pytest.mark.parametrize("name", SWEEPS)
def test_variants_are_what_hydra_composes(name):
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = compose("config", ["data=digits"], return_hydra_config=True)
        jobs, _ = expand(["data=digits", *SWEEPS[name]], loader)
        variants = Variants(loader)
        for job in [*jobs, jobs[0]]:
            expected = OmegaConf.to_container(loader.load_sweep_config(master, job), resolve=False)
            assert OmegaConf.to_container(variants.load_sweep_config(master, job), resolve=False) == expected, job


def test_a_configuration_is_nobody_elses():
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        variants = Variants(GlobalHydra.instance().config_loader())
        master = compose("config", [], return_hydra_config=True)
        first = variants.load_sweep_config(master, ["seed=1"])
        variants.load_sweep_config(master, ["seed=2"])
        assert first.seed == 1

"""What is told of a machine from what its system says; and what is chosen by it."""

import pytest
from omegaconf import OmegaConf

from lrdecay import machine
from lrdecay.config.resolvers import faster_dense

PROCESSORS = {
    "AMD with AVX-512": ("AuthenticAMD", "fpu avx2 avx512f avx512_bf16", True, True),
    "AMD without": ("AuthenticAMD", "fpu avx2", False, False),
    "Intel with AVX-512": ("GenuineIntel", "fpu avx2 avx512f", False, False),
    "Intel with AMX": ("GenuineIntel", "fpu avx2 avx512f amx_bf16", False, True),
}


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_processor(name, tmp_path):
    vendor, flags, onednn, bf16 = PROCESSORS[name]
    file = tmp_path / "cpuinfo"
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: {flags}\n"
    file.write_text(f"{one}\n{one}")
    assert (machine.multiplies_faster_by_onednn(file), machine.has_bf16_units(file)) == (onednn, bf16)


def test_another_system(tmp_path):
    assert not machine.multiplies_faster_by_onednn(tmp_path / "none")


@pytest.mark.parametrize(
    ("trainer", "gpus", "expected"),
    [
        ({"accelerator": "cpu", "precision": "32-true"}, ["0"], "onednn"),
        ({"accelerator": "auto"}, [], "onednn"),
        ({"accelerator": "auto"}, ["0"], "torch"),
        ({"accelerator": "gpu"}, [], "torch"),
        ({"accelerator": "cpu", "precision": "bf16-mixed"}, [], "torch"),
    ],
)
def test_what_computes_dense_layers(trainer, gpus, expected, monkeypatch):
    monkeypatch.setattr(machine, "visible_gpus", lambda: gpus)
    monkeypatch.setattr(machine, "multiplies_faster_by_onednn", lambda: True)
    assert faster_dense(_root_=OmegaConf.create({"trainer": trainer})) == expected
    monkeypatch.setattr(machine, "multiplies_faster_by_onednn", lambda: False)
    assert faster_dense(_root_=OmegaConf.create({"trainer": trainer})) == "torch"

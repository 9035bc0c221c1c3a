"""What this machine has, as far as that can be told without torch."""

import functools
import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs that CUDA programs may use, without starting CUDA in this process."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [gpu for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    return [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]


@functools.cache
def processor(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What Linux tells of the first processor, ``vendor_id`` and ``flags`` among it; nothing on another system."""
    if not cpuinfo.is_file():
        return {}
    first = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def multiplies_faster_by_onednn(cpuinfo: Path = CPUINFO) -> bool:
    """Whether oneDNN multiplies float32 matrices faster here than MKL, through which torch does it.

    MKL chooses its code by the maker of the processor: on an AMD EPYC with AVX-512 and two cores it reached 160 GFLOP/s
    in the article's dense layer where oneDNN reached 195.
    """
    found = processor(cpuinfo)
    return found.get("vendor_id") == "AuthenticAMD" and "avx512f" in found.get("flags", "").split()


def has_bf16_units(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 in units of its own, and not by way of float32."""
    return bool({"avx512_bf16", "amx_bf16"} & set(processor(cpuinfo).get("flags", "").split()))

"""`benchmarks/gpu.py` walks on a processor, tiny."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


def test_its_table_is_printed_without_a_gpu(capsys):
    spec = importlib.util.spec_from_file_location("gpu_benchmark", SCRIPT)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    benchmark.main(["--device", "cpu", "--small", "--parts", "step", "bits", "--cases", "one class"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("test_resnet, 32 px, batch 8, float32") and " ms" in line for line in lines)
    assert any(line.split()[-2:] == ["yes", "yes"] for line in lines)

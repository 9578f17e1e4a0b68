"""Names that a run's configuration uses for profiling (no torch: the Snakefile reads it)."""

from typing import Literal

# eager, compiled (torch.compile) and onnxruntime on the CPU; cuda: eager on the first GPU
Backend = Literal["eager", "compiled", "onnxruntime", "cuda"]

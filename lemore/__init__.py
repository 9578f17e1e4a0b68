"""lemore: LeMoRe and its rivals in lightweight semantic segmentation, as one pipeline."""

__version__ = "0.1.0"

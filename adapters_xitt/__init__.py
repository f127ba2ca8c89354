"""Zero-shot cross-lingual transfer grids with intermediate-task training, on adapters and LoRA over
one frozen encoder."""

__version__ = "0.1.0"

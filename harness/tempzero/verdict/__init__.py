"""An Analysis and thresholds in, a Verdict out."""

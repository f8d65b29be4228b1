"""Pure decisions of the trainer: parity, gates, quantization policy, histograms."""

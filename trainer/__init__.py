"""From an estimator and its data to proven bundles: fit, evaluate, export, quantize, measure, pack."""

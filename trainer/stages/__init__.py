"""The steps of a build, each touching one library: sources, fit, export, quantize, measure, pack."""

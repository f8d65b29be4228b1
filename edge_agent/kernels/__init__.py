"""The numpy interpreter of lowered graphs, for boards with no runtime and for proof."""

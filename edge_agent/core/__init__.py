"""Pure decisions of the device: values in, a verdict with its reason out."""

"""What runs on the device: a supervisor that never imports numpy, a worker that predicts, and the wire's words."""

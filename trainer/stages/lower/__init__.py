"""Lowering: from the fitted attributes of an estimator to the typed graph of `edge_agent.kernels.graph`.

House rules: one function an estimator, in the module of its family, entered in that module's table `LOWERINGS`. A
lowering reads attributes and never runs the estimator; what it cannot express exactly it refuses with the reason.
"""

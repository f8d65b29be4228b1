"""Pure decisions of the server: rollouts, cohorts, variants, drift."""

"""From log-likelihoods to verdicts on Table 1 and on statements, by the rules of protocol.yaml."""

"""Parts that several models share: nets, machines, chains, files of weights."""

"""What several experiments share: the games that they play, and the judge of their samples."""

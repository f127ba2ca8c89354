"""Whether a row's probabilities can be believed: calibration, temperature scaling, selective
prediction."""

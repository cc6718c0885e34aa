"""The network and its training, the linear baseline, calibration, and the model as it is served."""

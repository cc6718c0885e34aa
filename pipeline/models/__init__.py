"""The network and its training, the linear baseline, calibration, and the model as it is served."""

import sys

# Keras would import it, for plots that nothing here draws: a tenth of the time to start.
sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]

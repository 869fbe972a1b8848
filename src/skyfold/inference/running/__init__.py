"""What every run has: settings, draws, checkpoint, progress."""

from skyfold.inference.running.checkpoint import NO_CHECKPOINT, Checkpoint, fingerprint
from skyfold.inference.running.clock import Clock
from skyfold.inference.running.draws import Draws
from skyfold.inference.running.method import Method
from skyfold.inference.running.progress import Progress
from skyfold.inference.running.run_state import RunState
from skyfold.inference.running.settings import check_positive

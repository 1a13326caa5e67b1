"""Every study by name, in the order in which they run."""

from __future__ import annotations

from baselines.studies.contexts import CONTEXTS
from baselines.studies.crossovers import CROSSOVERS
from baselines.studies.headline import HEADLINE
from baselines.studies.npus import NPUS
from baselines.studies.pairs import PAIRS
from baselines.studies.policies import POLICY_STUDIES
from baselines.studies.prediction import PREDICTION
from baselines.studies.study import Measurement, Study
from baselines.studies.sweeps import CALIBRATION, SWEEPS

_ALL: tuple[Study | Measurement, ...] = (
    HEADLINE,
    PREDICTION,
    CONTEXTS,
    PAIRS,
    CROSSOVERS,
    CALIBRATION,
    *POLICY_STUDIES,
    NPUS,
    *SWEEPS,
)
STUDIES = {study.name: study for study in _ALL}

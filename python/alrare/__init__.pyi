__version__: str

from ._core import Descriptor as Descriptor
from .campaign.collect import collect_labels as collect_labels
from .campaign.loop import run_campaign as run_campaign
from .campaign.results import read_results as read_results
from .config import load_config as load_config
from .errors import AlrareError as AlrareError
from .exploration.export import export_lammps as export_lammps
from .exploration.smd import pull_with_labeller as pull_with_labeller
from .exploration.smd import pull_with_model as pull_with_model
from .labelling.batch import label as label
from .model.calculator import EnsembleCalculator as EnsembleCalculator
from .model.ensemble import load_ensemble as load_ensemble
from .selection.criterion import select_frames as select_frames
from .training.ensemble import train as train

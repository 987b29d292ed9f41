from .augment import noisy_copies as noisy_copies
from .budget import choose as choose
from .criterion import FrameSelection as FrameSelection
from .criterion import select_frames as select_frames
from .settings import fix_command as fix_command

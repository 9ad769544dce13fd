"""The embedded data set: moving shapes that sound, generated on this machine as real H.264 and AAC files.

:func:`make` writes the set; :func:`clip_factors` and :func:`render` give one clip in memory. What is in a clip and
what its label is: :mod:`avbench.data.soundshapes.factors`.
"""

from avbench.data.soundshapes.factors import Factors, clip_factors
from avbench.data.soundshapes.make import make
from avbench.data.soundshapes.render import Rendered, render

__all__ = ["Factors", "Rendered", "clip_factors", "make", "render"]

"""Controls: what a result must beat to mean anything; a file each.

`constant_control` predicts the same for every patch: class frequencies, means, no boxes. `frozen_random_control` keeps the run's own
encoders at their random initial weights and trains only heads on their features: what the architecture is worth without learning
features. `per_pixel_control` is a linear model on the channels of each pixel alone: what maps are worth without looking around.
`random_forest_control` and `gradient_boosting_control` learn from inputs without pixels as columns: what a network must beat there.
"""

from eofuse.learning.controls.constant import constant_control
from eofuse.learning.controls.frozen_random import frozen_random_control
from eofuse.learning.controls.per_pixel import per_pixel_control
from eofuse.learning.controls.trees import gradient_boosting_control, random_forest_control

__all__ = [
    "constant_control",
    "frozen_random_control",
    "gradient_boosting_control",
    "per_pixel_control",
    "random_forest_control",
]

"""What a reader must know of patches that lack inputs: `gap_warnings`."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from eofuse.data.loading import Rows


def gap_warnings(present: Mapping[str, npt.NDArray[np.bool_]], train: Rows, test: Rows, *, dropped: bool) -> list[str]:
    """Which inputs training and test patches lack, and of which of them nothing can be learned.

    Args:
        present: by input, which patches have it, (patches,).
        train: rows of the patches that the model learns from.
        test: rows of those on which it is tested.
        dropped: whether training drops modalities, so that it sees gaps anyway.
    """
    counted, untrained, whole = [], [], []
    for name, there in present.items():
        lacking = int((~there[train]).sum()), int((~there[test]).sum())
        if any(lacking):
            counted.append(f"{name} (training {lacking[0]} of {len(train)}, test {lacking[1]} of {len(test)})")
        if lacking[0] == len(train):
            untrained.append(f"No training patch has {name}: its encoder is untrained.")
        elif lacking[1] and not lacking[0] and not dropped:
            untrained.append(
                f"Every training patch has {name}, which test patches lack: what stands for it is untrained "
                "(augment.drop_modalities lets training see gaps)."
            )
        elif not any(lacking) and not dropped and len(present) > 1:
            whole.append(name)
    if whole:
        untrained.append(
            f"Every training and test patch has {', '.join(whole)}: what stands for these in other patches is untrained "
            "(augment.drop_modalities lets training see gaps)."
        )
    return ([f"Some patches lack an input: {', '.join(counted)}."] if counted else []) + untrained

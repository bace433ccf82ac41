"""Files of `torch.save`, read without running code, and only if they are whole: torch itself compares no checksums."""

import zipfile
from pathlib import Path
from typing import Any

import torch


def load_whole(path: Path, device: torch.device | str = "cpu") -> Any:
    """What `torch.save` wrote.

    Args:
        path: the file.
        device: where its tensors go.

    Raises:
        Exception: of many kinds, of torch and others, if it can't be read, is damaged, or would run code.
    """
    if zipfile.is_zipfile(path):  # not so those of torch before 1.6
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():
                raise ValueError(f"it is damaged: the checksum of {damaged} in it differs")
    return torch.load(path, map_location=device, weights_only=True)

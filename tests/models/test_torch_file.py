"""Files of torch are read whole or not at all."""

import pytest
import torch

from eofuse.models.torch_file import load_whole

VALUES = torch.arange(100.0)


def test_what_was_saved_is_loaded(tmp_path):
    torch.save({"values": VALUES}, tmp_path / "a.pt")
    assert torch.equal(load_whole(tmp_path / "a.pt")["values"], VALUES)


def test_one_other_bit_of_a_tensor_is_an_error(tmp_path):
    torch.save({"values": VALUES}, tmp_path / "a.pt")
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[content.index(VALUES.numpy().tobytes()) + 50] ^= 1
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ValueError, match="it is damaged: the checksum of a/data/0 in it differs"):
        load_whole(tmp_path / "a.pt")


def test_files_of_old_versions_of_torch_are_loaded(tmp_path):
    torch.save({"values": VALUES}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load_whole(tmp_path / "a.pt")["values"], VALUES)

"""What a shell completes: commands, their options, and choices of these."""

import shutil
import subprocess

import pytest

from eofuse.cli.completion import script
from eofuse.cli.parser import make_parser

if shutil.which("bash") is None:
    pytest.skip("bash is not installed", allow_module_level=True)


def completed(*words: str) -> list[str]:
    """What bash offers for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in words)
    asked = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _eofuse; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        ["bash", "-c", f"{script('bash', make_parser())}\n{asked}"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_choices_are_completed() -> None:
    assert completed("eofuse", "exp") == ["explore", "export"]
    assert completed("eofuse", "explore", "--pro") == ["--projection"]
    assert completed("eofuse", "explore", "--projection", "") == ["pca", "umap"]
    assert completed("eofuse", "explore", "my") == []  # files, by the shell itself


def test_zsh_takes_the_same_by_its_bridge_to_bash() -> None:
    text = script("zsh", make_parser())
    assert text.index("bashcompinit") < text.index("complete -o default")

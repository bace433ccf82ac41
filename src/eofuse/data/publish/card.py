"""The card of published patches: a README with what they are, who is to be credited, the licence, and how to read them."""

from collections.abc import Sequence

import yaml

from eofuse.data.store import Store
from eofuse.modalities import Modality
from eofuse.words import counted, listed

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Words of Hugging Face for the number of samples, by what it is below."""


def card_of(store: Store, modalities: Sequence[Modality], form: str, licence: str, usage: str) -> str:
    """The text of the card, whose head Hugging Face reads."""
    size = next((word for most, word in SIZES if len(store) < most), "n>1M")
    head = {"pretty_name": store.name, "tags": ["earth-observation"], "size_categories": [size]}
    head |= {"license": licence.lower()} if licence else {}
    rows = [
        f"| `{modality.name}` | {modality.title or modality.name} | {modality.kind.value} | {listed(modality.channel_names, 16)} | "
        f"{modality.dtype} | {int(store.present(modality.name).sum()):,} |"
        for modality in modalities
    ]
    credits = sorted({modality.attribution for modality in modalities if modality.attribution})
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        "---",
        f"# {store.name}",
        f"{counted(len(store), 'patch', 'patches')} as {form}, written by eofuse from the store `{store.fingerprint[:16]}`.",
        *(["**The values are simulated: for teaching and tests, never for claims.**"] if store.simulated else []),
        "",
        f"Licence: {licence or 'not said: ask before you use the data'}.",
        *([f"Credits: {'; '.join(credits)}."] if credits else []),
        "",
        "| modality | title | kind | channels | dtype | patches |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "## Read it",
        usage,
        "",
        "`sha256sum --check SHA256SUMS` compares every file.",
    ]
    return "\n".join(lines) + "\n"

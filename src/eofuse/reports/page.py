"""Templates filled in: pages that need no network, no script and no other file."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from eofuse.reports import wording
from eofuse.words import counted

FILTERS = (
    wording.number,
    wording.signed,
    wording.p_value,
    wording.share,
    wording.count,
    wording.compact,
    wording.millions,
    wording.duration,
    wording.energy,
    wording.learning_rate,
    wording.class_title,
    counted,
    wording.listing,
)
"""What templates may use to write numbers and words."""


def render_page(template: str, context: Mapping[str, Any]) -> str:
    """The text of a page; everything that is not markup of the template is escaped.

    Args:
        template: name of a file in `templates`.
        context: what it refers to; a name that is missing is an error.
    """
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    """What reads the templates; it keeps those that it has compiled."""
    environment = Environment(
        loader=PackageLoader("eofuse.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({function.__name__: function for function in FILTERS})
    return environment

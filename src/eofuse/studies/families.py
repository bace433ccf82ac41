"""Families of comparisons, within which p values are corrected for their number.

A family is a question that a reader asks of a study, with all the comparisons that answer it, on one target and by one metric, with
every amount of labels:

- which variant differs from the baseline? Every variant against it;
- what is gained over the controls? Every variant against every control that it is compared with: the constant predictor, its own
  frozen random encoder, the per-pixel model, the trees on the same inputs;
- does learning several targets together help? Every variant that does against its twin that learns one;
- each of the questions in `study.compare`, together;
- what is lost without a modality? Every variant without every modality (`study.without`);
- which variant, with fewer labels, differs from the baseline with all of them?
"""

import pandas as pd

from eofuse.evaluation.intervals import holm

BASELINE = "baseline"
CONTROLS = "controls"
TWINS = "twins"


def corrected(table: pd.DataFrame, family: str | None = None) -> pd.DataFrame:
    """The table with a column `p_holm`: its `p` corrected by Holm's method within a family and metric.

    Args:
        table: a row a comparison, with `metric` and `p`.
        family: name of the column that holds the family of each row, which is taken away; without it, all rows are one.
    """
    within = ["metric", family] if family else ["metric"]
    p_holm = table.groupby(within)["p"].transform(lambda p: holm(p.to_numpy()))
    return table.assign(p_holm=p_holm).drop(columns=[family] if family else [])

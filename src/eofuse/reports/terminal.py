"""The leaderboard as a table for the terminal."""

from rich import box
from rich.table import Table
from rich.text import Text

from eofuse.data.store.gaps import left_out_words
from eofuse.reports.cautions import caution_sentences
from eofuse.reports.questions import answers
from eofuse.reports.tables import LeaderboardRow, leaderboard_rows, words
from eofuse.reports.wording import MISSING, MetricWords, between, duration, interval, millions, p_value
from eofuse.studies.results import StudyResults


def leaderboard_table(results: StudyResults) -> Table:
    """Variants by rank with intervals and paired differences to the baseline, and the controls below a rule."""
    metric = words(results, results.summary["metric"])
    target = f": {results.summary['target']}" if len(results.targets) > 1 else ""
    simulated = " (simulated data)" if results.summary["simulated"] else ""
    labels = f", {results.labels:,} labels" if len(results.amounts) > 1 else ""
    table = Table(
        title=Text(f"{results.summary['title']}{target}{labels}{simulated}"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        padding=(0, 1, 0, 0),
    )
    table.caption = Text(
        "Means over seeds; 95 % intervals over test scenes (jackknife). "
        f"Differences are paired, to the baseline {results.summary['baseline']}; p after Holm's correction. "
        "A difference is distinguishable from zero only if its interval excludes zero and p < 0.05.",
        style="dim",
    )
    table.caption_justify = "left"
    table.add_column("#", justify="right")
    table.add_column(Text("variant\nstrategy: inputs"), overflow="fold", min_width=16)
    table.add_column(Text(f"{metric.with_unit}\ninterval"), justify="right")
    table.add_column(Text("difference\ninterval"), justify="right", no_wrap=True)
    table.add_column("p", justify="right", min_width=7)
    table.add_column("seeds", justify="right")
    table.add_column(Text("params\ntime/run"), justify="right", no_wrap=True)
    rows = leaderboard_rows(results)
    for position, row in enumerate(rows):
        is_last_variant = row.role == "variant" and position + 1 < len(rows) and rows[position + 1].role != "variant"
        table.add_row(*_cells(row, metric), style="bold" if row.rank == 1 else None, end_section=is_last_variant)
    return table


def notes(results: StudyResults) -> list[str]:
    """What a reader of the numbers must know: what was left out, the warnings of the study, what speaks against its runs."""
    summary = results.summary
    left_out = left_out_words(summary["excluded"], summary.get("lacking", {}), summary.get("stored"))
    against = [text for target in results.targets for text in caution_sentences(results.of(target))]
    return [*([left_out] if left_out else []), *dict.fromkeys([*summary["warnings"], *against])]


def question_lines(results: StudyResults) -> list[str]:
    """The questions of the study with their answers, a line each."""
    return [f"{one.question} {one.verdict}: {one.reason.striptags()}" for one in answers(results)]


def _cells(row: LeaderboardRow, metric: MetricWords) -> list[Text]:
    """Cells of a row, of two lines where an interval or the inputs stand below."""
    if row.is_baseline:
        difference, p = Text("baseline"), ""
    elif row.difference is None:
        difference, p = Text(MISSING), MISSING
    else:
        change = row.difference
        difference = _two_lines(metric.signed(change.value), interval(change.low, change.high, metric.signed))
        p = p_value(change.p_holm)
    what = f"{row.strategy}: {', '.join(row.inputs)}" if row.role == "variant" else "control"
    return [
        Text(str(row.rank) if row.rank else ""),
        _two_lines(row.variant, what),
        _two_lines(metric.write(row.mean), between(row.low, row.high, metric.digits)),
        difference,
        Text(p),
        Text(str(row.n_seeds)),
        _two_lines(millions(row.parameters), duration(row.seconds)),
    ]


def _two_lines(main: str, below: str) -> Text:
    return Text.assemble(main, "\n", (below, "dim"))

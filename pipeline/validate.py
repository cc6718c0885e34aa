"""Holds the messages to the expectations; bad rows go to quarantine, bad data stops here."""

import logging
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
import pyarrow as pa
from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults
from great_expectations.data_context.types.base import ProgressBarsConfig as ProgressBars

from pipeline import docs, ingest, stage, text
from pipeline.stage import Figure, PipelineError

log = logging.getLogger(__name__)
logging.getLogger("great_expectations").setLevel(logging.CRITICAL)  # what matters comes back as a result

Build = Callable[["Params"], Any]  # returns an expectation of Great Expectations

VALIDATED = ingest.MESSAGES.append(pa.field("copies", pa.int64()))  # rows that came with this text
COLUMNS, PLACE, LABELS = ingest.MESSAGES.names, ["source", "row"], ["ham", "spam"]
QUARANTINE = pa.schema(
    [ingest.MESSAGES.field(name) for name in ("message_id", "text", "label", "source", "row")]
    + [pa.field("reasons", pa.string())]  # names of EXPECTATIONS
)
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"  # but tab, newline, carriage return
MOJIBAKE = "[ÃÂ][\u0080-\u00bf]|â€"  # UTF-8 that was read as Latin-1: `Ã©` for `é`, `â€™` for `’`
SUITES = {
    "schema": "The shape of the table. What breaks here stops the run.",
    "rows": "What each row must be. What breaks it goes to quarantine; above its budget, the run stops.",
    "copies": "The rows that are left, beside one another: budgets as for rows.",
    "table": "What the rows that are left must be as a whole. What breaks here stops the run.",
}  # in this order; each sees the rows that those before it let through


@dataclass(frozen=True)
class Params:
    row_count: tuple[int, int]  # messages that hold; the least and the most, as in all of these
    spam_share: tuple[float, float]  # of the messages that hold
    text_length: tuple[int, int]  # characters of one message
    median_length: tuple[float, float]  # characters
    received_years: tuple[int, int]  # first and last that a message may be from
    budgets: dict[str, float]  # by row-level expectation: share of rows that may go to quarantine

    def __post_init__(self) -> None:
        for name in ("row_count", "spam_share", "text_length", "median_length", "received_years"):
            least, most = getattr(self, name)
            if least > most:
                raise ValueError(f"{name}: the least, {least}, is above the most, {most}")
        if not 1 <= self.received_years[0] <= self.received_years[1] <= 9999:
            raise ValueError("received_years: years are from 1 to 9999")
        for problem, names in {
            "unknown": [name for name in self.budgets if name not in row_level()],
            "missing": [name for name in row_level() if name not in self.budgets],
            "no share from 0 to 1 for": [name for name, share in self.budgets.items() if not 0 <= share <= 1],
        }.items():
            if names:
                listed = ", ".join(map(repr, names))
                raise ValueError(f"budgets: {problem} {listed}; one for each of {', '.join(row_level())}")


@dataclass(frozen=True)
class Findings:
    """What Great Expectations found in one table."""

    rows: int  # that came in
    kept: pd.DataFrame  # as VALIDATED
    quarantined: pd.DataFrame  # as QUARANTINE
    breaches: dict[str, Figure]  # by row-level expectation: rows that break it, of n that it looked at
    broken: dict[str, Any]  # results of the expectations that stop the run
    results: dict[str, Any]  # by suite that was asked: what Great Expectations found, for Data Docs


# ---- what the expectations look at


def facts(messages: pd.DataFrame) -> pd.DataFrame:
    """The table with columns for what Great Expectations cannot work out itself."""
    texts, label = messages["text"].fillna(""), messages["label"]
    folded = _folded(texts)
    ids = pd.Series([ingest.message_id(t) for t in texts], texts.index, dtype="str")
    return messages.assign(
        is_blank=[isinstance(t, str) and not text.canonicalise(t).strip() for t in messages["text"]],
        length=texts.str.len().astype("int64"),
        id_agrees=messages["message_id"] == ids,
        is_contested=label.groupby(folded).transform("nunique") > 1,
        is_copy=pd.DataFrame({"text": folded, "label": label}).duplicated(),  # the first one is none
        is_spam=label.eq("spam").astype("int64"),
    )


def _folded(texts: pd.Series) -> pd.Series:
    """The texts without case and spacing: equal ones are copies."""
    return pd.Series([text.fold(t) for t in texts], texts.index, dtype="str")


# ---- the expectations


def _ask(expectation: Any, **of: Any) -> Build:
    return lambda _: expectation(**of)


def _is(column: str, value: bool) -> Build:
    return _ask(gxe.ExpectColumnValuesToBeInSet, column=column, value_set=[value])


def _has_type(column: str, name: str) -> Build:
    return _ask(gxe.ExpectColumnValuesToBeOfType, column=column, type_=name)


def _has_no(regex: str) -> Build:
    return _ask(gxe.ExpectColumnValuesToNotMatchRegex, column="text", regex=regex)


def _within(bounds: str, expectation: Any, **of: Any) -> Build:
    """An expectation between the two bounds that Params has under this name."""
    return lambda params: expectation(
        min_value=getattr(params, bounds)[0], max_value=getattr(params, bounds)[1], **of
    )


def _years(params: Params) -> Any:
    first, last = params.received_years
    return gxe.ExpectColumnValuesToBeBetween(
        column="received_at",
        min_value=datetime(first, 1, 1, tzinfo=UTC),
        max_value=datetime(last, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    )


EXPECTATIONS: dict[str, tuple[str, Build]] = {  # name: (suite, builder); the name is the claim
    "columns_are_the_contract": ("schema", _ask(gxe.ExpectTableColumnsToMatchSet, column_set=COLUMNS)),
    "message_id_is_a_string": ("schema", _has_type("message_id", "str")),
    "text_is_a_string": ("schema", _has_type("text", "str")),
    "label_is_a_string": ("schema", _has_type("label", "str")),
    "source_is_a_string": ("schema", _has_type("source", "str")),
    "source_is_not_null": ("schema", _ask(gxe.ExpectColumnValuesToNotBeNull, column="source")),
    "row_is_an_integer": ("schema", _has_type("row", "int64")),
    "received_at_is_a_time": ("schema", _has_type("received_at", "Timestamp")),
    "source_and_row_are_unique": ("schema", _ask(gxe.ExpectCompoundColumnsToBeUnique, column_list=PLACE)),
    "text_is_not_null": ("rows", _ask(gxe.ExpectColumnValuesToNotBeNull, column="text")),
    "text_is_not_blank": ("rows", _is("is_blank", False)),
    "text_decodes": ("rows", _has_no("\ufffd")),
    "text_is_not_mojibake": ("rows", _has_no(MOJIBAKE)),
    "text_has_no_control_characters": ("rows", _has_no(CONTROL)),
    "text_length_is_within_bounds": (
        "rows",
        _within("text_length", gxe.ExpectColumnValueLengthsToBeBetween, column="text"),
    ),
    "label_is_not_null": ("rows", _ask(gxe.ExpectColumnValuesToNotBeNull, column="label")),
    "label_is_known": ("rows", _ask(gxe.ExpectColumnValuesToBeInSet, column="label", value_set=LABELS)),
    "message_id_is_the_hash_of_its_text": ("rows", _is("id_agrees", True)),
    "received_at_is_plausible": ("rows", _years),
    "text_has_one_label": ("copies", _is("is_contested", False)),
    "text_is_not_a_copy": ("copies", _is("is_copy", False)),
    "row_count_is_within_bounds": ("table", _within("row_count", gxe.ExpectTableRowCountToBeBetween)),
    "spam_share_is_within_bounds": (
        "table",
        _within("spam_share", gxe.ExpectColumnMeanToBeBetween, column="is_spam"),
    ),
    "median_length_is_within_bounds": (
        "table",
        _within("median_length", gxe.ExpectColumnMedianToBeBetween, column="length"),
    ),
    "both_labels_are_present": (
        "table",
        _ask(gxe.ExpectColumnUniqueValueCountToBeBetween, column="is_spam", min_value=2, max_value=2),
    ),
}


def row_level() -> list[str]:
    """The names of the expectations that send rows to quarantine."""
    return [name for name, (suite, _) in EXPECTATIONS.items() if suite in ("rows", "copies")]


# ---- asking Great Expectations


def inspect(messages: pd.DataFrame, params: Params) -> Findings:
    """Runs the suites in order, each on the rows that those before it let through."""
    context, kept, results = _context(), messages, dict[str, Any]()
    reasons, breaches, broken = dict[tuple[str, int], list[str]](), dict[str, Figure](), dict[str, Any]()
    for suite in SUITES:
        results[suite] = _asked(context, suite, kept if suite == "schema" else facts(kept), params)
        for result in results[suite].results:
            name = _name(result)
            if suite in ("rows", "copies"):
                found = result.result
                for row in found["unexpected_index_list"]:
                    reasons.setdefault((row["source"], row["row"]), []).append(name)
                breaches[name] = Figure(found["unexpected_count"], n=_looked_at(found))
            if not result.success:
                broken[name] = result
        if suite == "schema" and broken:
            kept = messages.head(0)
            break
        places = zip(kept["source"], kept["row"], strict=True)
        kept = kept[pd.Series([place not in reasons for place in places], kept.index, dtype=bool)]
    return Findings(
        len(messages), _kept(kept, messages), _quarantined(messages, reasons), breaches, broken, results
    )


def _asked(context: Any, suite: str, table: pd.DataFrame, params: Params) -> Any:
    """What Great Expectations found for one suite, its results in the order of EXPECTATIONS."""
    expectations = [_expectation(name, params) for name, (of, _) in EXPECTATIONS.items() if of == suite]
    batch = context.data_sources.get("data").get_asset("messages").get_batch_definition("all")
    definition = gx.ValidationDefinition(
        name=suite,
        data=batch,
        suite=context.suites.add(gx.ExpectationSuite(suite, expectations=expectations)),
    )
    complete = {
        "result_format": "COMPLETE",
        "unexpected_index_column_names": PLACE,  # unlike unexpected_list, these are never cut
        "partial_unexpected_count": 0,  # Data Docs count, and show no message: quarantine does
        "return_unexpected_index_query": False,
    }
    ran = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": table}, result_format=complete
    )
    uncomputed = {_name(result): result.exception_info for result in ran.results if not result.result}
    if uncomputed and suite != "schema":  # what it found of the others holds messages
        raise RuntimeError(f"Great Expectations could not compute {uncomputed}")
    ran.results.sort(key=lambda result: list(EXPECTATIONS).index(_name(result)))
    return ran


def _name(result: Any) -> str:
    return str(result.expectation_config.meta["name"])


def _expectation(name: str, params: Params) -> Any:
    """The named expectation, with its budget and with words for Data Docs."""
    expectation = EXPECTATIONS[name][1](params)
    expectation.meta, expectation.description = {"name": name}, name.replace("_", " ")
    if name.endswith("within_bounds"):
        expectation.description += f", {_number(expectation.min_value)} to {_number(expectation.max_value)}"
    if name in row_level():
        expectation.mostly = round(1 - params.budgets[name], 9)  # 1 - 0.43 is not 0.57 in binary
        expectation.description += f", for at least {_percent(expectation.mostly)} of the rows"
    return expectation


def _context() -> Any:
    """A project of Great Expectations in memory: no files, no bars, nothing sent."""
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBars(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    asset = context.data_sources.add_pandas("data").add_dataframe_asset("messages")
    asset.add_batch_definition_whole_dataframe("all")
    return context


def _looked_at(found: dict[str, Any]) -> int:
    """How many rows a row-level expectation judged: most pass over nulls."""
    return int(found["element_count"] - found.get("missing_count", 0))


def _kept(kept: pd.DataFrame, messages: pd.DataFrame) -> pd.DataFrame:
    if kept.empty:
        return kept.reindex(columns=VALIDATED.names)
    folded = _folded(messages["text"].fillna(""))
    copies = folded.groupby(folded).transform("size")
    return kept.assign(copies=copies).sort_values("message_id").reindex(columns=VALIDATED.names)


def _quarantined(messages: pd.DataFrame, reasons: dict[tuple[str, int], list[str]]) -> pd.DataFrame:
    if not reasons:
        return messages.head(0).reindex(columns=QUARANTINE.names)
    places = zip(messages["source"], messages["row"], strict=True)
    listed = messages.assign(reasons=[", ".join(reasons.get(place, [])) for place in places])
    return listed[listed["reasons"] != ""].sort_values(PLACE).reindex(columns=QUARANTINE.names)


# ---- what people read


def problems(findings: Findings, messages: Path, quarantine: Path) -> list[str]:
    """One line for each expectation that stops the run: place, what was found, the way out."""
    ways_out = {
        "schema": "it must be MESSAGES of pipeline/ingest.py",
        "rows": f"see {quarantine}",
        "copies": f"see {quarantine}",
        "table": "if the data is right, set section validate of params.yaml; "
        f"`python -m pipeline.validate --propose {messages}` works it out",
    }
    return [
        f"{messages}: {name}: {_found(name, result)}; {ways_out[EXPECTATIONS[name][0]]}"
        for name, result in findings.broken.items()
    ]


def _found(name: str, result: Any) -> str:
    found, asked = result.result, result.expectation_config.kwargs
    if not found:
        return "cannot be checked, for want of its column"
    if "unexpected_count" in found:
        count, rows = found["unexpected_count"], _looked_at(found)
        breach = f"{count:,} of {rows:,} rows ({_percent(count / rows)}) break it"
        budget = _percent(1 - asked.get("mostly", 1))
        return f"{breach}, the budget is {budget}" if name in row_level() else breach
    if "column_set" in asked:
        columns = found["details"]["mismatched"].items()
        return "; ".join(f"{how}: {', '.join(names)}" for how, names in columns)
    if "type_" in asked:
        return f"found {found['observed_value']}, not {asked['type_']}"
    bounds = f"the bounds are {_number(asked['min_value'])} to {_number(asked['max_value'])}"
    return f"found {_number(found['observed_value'])}, {bounds}"


def figures(findings: Findings) -> dict[str, Figure]:
    """What the report says: rows that held, rows that did not, and why."""
    kept = findings.kept
    return {
        "rows_kept": Figure(len(kept), n=findings.rows),
        "rows_quarantined": Figure(len(findings.quarantined), n=findings.rows),
        "spam_share": Figure((kept["label"] == "spam").mean() if len(kept) else None, n=len(kept)),
        **{f"breaches.{name}": figure for name, figure in findings.breaches.items()},
    }


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:,.4f}".rstrip("0").rstrip(".")


# ---- bounds for a stranger's data


def propose(messages: pd.DataFrame, place: Path) -> str:
    """Section `validate` of params.yaml that this data keeps to, to be judged. Raises: PipelineError."""
    longest = max((len(t) for t in messages.get("text", []) if isinstance(t, str)), default=1)
    wide = Params(
        row_count=(0, sys.maxsize),
        spam_share=(0, 1),
        text_length=(1, max(1, int(_outward(2, longest, math.ceil)))),
        median_length=(0, sys.maxsize),
        received_years=(1992, 2100),
        budgets=dict.fromkeys(row_level(), 1.0),
    )
    findings = inspect(messages, wide)
    if findings.broken:
        raise PipelineError(f"{place}: {', '.join(findings.broken)}: broken within any bounds; mend the data")
    return _section(findings, wide)


def _section(findings: Findings, wide: Params) -> str:
    rows, lengths = len(findings.kept), findings.kept["text"].str.len()
    spam, median = (findings.kept["label"] == "spam").mean(), lengths.median()
    lines = {
        "row_count": (_around(rows, 10), f"messages that hold, at least and at most; here {rows:,}"),
        "spam_share": (_around(spam, 2, most=1), f"of the messages that hold; here {_percent(spam)}"),
        "text_length": (wide.text_length, f"characters; here {lengths.min()} to {lengths.max()}"),
        "median_length": (_around(median, 2), f"characters; here {_number(median)}"),
        "received_years": (wide.received_years, "first and last; the first SMS was sent in 1992"),
    }
    section = ["validate:", *(f"  {name}: {list(value)}  # {why}" for name, (value, why) in lines.items())]
    section.append("  budgets:  # share of rows that may go to quarantine, from 0 to 1")
    for name, found in findings.breaches.items():
        share = (found.value or 0) / (found.n or 1)
        budget = min(1.0, max(0.01, _outward(1.5, share, math.ceil)))
        section.append(f"    {name}: {budget:g}  # here {found.value:,} of {found.n:,} rows break it")
    return "\n".join(section)


def _around(value: float, factor: float, most: float = sys.maxsize) -> tuple[float, float]:
    """Bounds `factor` below and above a value, rounded outward to two digits; whole for whole values."""
    low, high = _outward(1 / factor, value, math.floor), min(most, _outward(factor, value, math.ceil))
    return (int(low), int(high)) if isinstance(value, int) else (low, high)


def _outward(factor: float, value: float, rounding: Callable[[float], int]) -> float:
    if not value:
        return 0.0
    digit: int = math.floor(math.log10(factor * value)) - 1
    return round(float(rounding(factor * value / 10.0**digit)) * 10.0**digit, 12)


# ---- the command


def read_messages(path: Path) -> pd.DataFrame:
    """Ingested messages, or any other file that ingest can read."""
    if path.suffix == ".parquet":
        table = stage.read_parquet(path)
        if table.schema.names == ingest.MESSAGES.names:
            return cast(pd.DataFrame, table.to_pandas())
    return ingest.messages_of(path)


def main(argv: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if argv is None else argv
    if "--propose" in arguments:
        [file] = stage.paths([a for a in arguments if a != "--propose"], propose.__doc__, "file")
        print(propose(read_messages(file), file))
        return
    names = ("messages", "validated", "quarantine", "docs", "report")
    messages, validated, quarantine, pages, report = stage.paths(arguments, __doc__, *names)
    validated.unlink(missing_ok=True)  # whatever happens now, no older table passes for this one
    params = stage.read_params(Params, "validate")
    findings = inspect(stage.read_parquet(messages).to_pandas(), params)

    verdict = f"{len(findings.kept):,} of {findings.rows:,} rows hold"
    if findings.broken:
        verdict = f"stopped: {', '.join(findings.broken)}"
    docs.write(pages, SUITES, findings.results)
    _write_table(quarantine, findings.quarantined, QUARANTINE)
    stage.write_report(report, findings.rows, figures(findings), verdict)
    if findings.broken:
        raise PipelineError("\nerror: ".join(problems(findings, messages, quarantine)))
    _write_table(validated, findings.kept, VALIDATED)
    log.info("validate: %s", verdict)


def _write_table(path: Path, table: pd.DataFrame, schema: pa.Schema) -> None:
    stage.write_parquet(path, pa.Table.from_pandas(table, schema, preserve_index=False).to_batches(), schema)


if __name__ == "__main__":
    stage.run(main)

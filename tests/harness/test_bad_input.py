"""Bad input and a bad machine end in the line that benchmarks/bad_input.py names, and harm nothing."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness import sandbox
from tests.harness.bad_input import (
    CASES,
    INBOX,
    LOCK,
    NAME,
    SMS,
    WORKERS,
    Case,
    append,
    both,
    flaws,
    nothing,
    replace,
    rows_of,
)

pytestmark = pytest.mark.slow

MAY_MOUNT = sandbox.may_mount()  # a disk without room, or one that may not be written
MISSPELT = both(SMS, replace(LOCK, "member", "memer"))
ROW = f"error: {INBOX}: row 91: 1 columns, not 2; mend the row"


@pytest.fixture(scope="module")
def tried(request, project, tmp_path_factory):
    """What did not hold, by case: of those that this run of the tests asks for, some at once."""
    of_tests = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = [spec.params["case"] for spec in of_tests if spec and spec.params.get("case") in CASES]
    with ThreadPoolExecutor(WORKERS) as pool:
        yield {
            case: pool.submit(flaws, case, project[0], tmp_path_factory.mktemp("case") / NAME)
            for case in chosen
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_ends_as_its_case_says(tried, case):
    if case.disk and not MAY_MOUNT:
        pytest.skip("this machine lets us have no disk without room")
    assert tried[case].result() == []


@pytest.mark.parametrize(
    ("case", "flaw"),
    [
        (Case("", "ingest", append(INBOX, "0"), ROW.replace("91", "90")), f"said {ROW}"),
        (Case("", "ingest", append(INBOX, "0"), f"the first line\n{ROW}"), f"said {ROW}"),
        (Case("", "ingest", append(INBOX, "0"), ROW, code=2), "exit code 1, not 2"),
        (
            Case(
                "", "ingest", MISSPELT, "error: …memer: unknown key; remove it or mend its spelling"
            ),
            "2 errors",
        ),
        (
            Case("", "ingest", append(INBOX, "0"), ROW, reason="text_decodes"),
            "in quarantine: set()",
        ),
        (Case("", "echo >> reports/ingest.json", nothing, "", 0), "changed: reports/ingest.json"),
        (Case("", "touch .ingest.json.77.tmp", nothing, "", 0), "left behind: .ingest.json.77.tmp"),
        (Case("", "rm mlflow.db", nothing, "", 0), "the registry changed"),
        (Case("", "python -c '{}[0]'", nothing, "KeyError: 0"), "a traceback"),
        (Case("", "rm -r models .dvc/cache # dvc", nothing, "", 0), "the way back: "),
    ],
)
def test_what_does_not_hold_is_seen(project, tmp_path, case, flaw):
    assert flaws(case, project[0], tmp_path / NAME)[0].startswith(flaw)


@pytest.mark.parametrize(
    "case",
    [
        Case("", "ingest", nothing, "ingest: 90 rows…", 0),
        Case("", "echo >> reports/ingest.json", nothing, "", 0, changes=("reports/i",)),
        Case("", "rm models/model.keras # dvc", nothing, "", 0),  # the way back brings it back
    ],
)
def test_what_holds_leaves_nothing(project, tmp_path, case):
    assert flaws(case, project[0], tmp_path / NAME) == []
    assert not (tmp_path / NAME).exists()


def test_table_has_a_row_for_what_is_tried_and_answered_alike():
    said = f"error: {'0' * 64}\nerror: y"
    results = [
        (Case("a | b", "ingest && validate", nothing, said), []),
        (Case("c", "validate", nothing, said), ["this", "that"]),
        (Case("d", "train", nothing, said), []),
        (Case("e", "train", nothing, "90 rows", 0, reason="text_decodes"), []),
        (Case("f", "train", nothing, "90 rows", 0), []),
        (Case("g", "python -m pipeline score a b", nothing, "", 0), []),
    ]
    assert list(rows_of(results)) == [
        "| validate: a \\| b; c | no: this; that | error: 00000000…<br>error: y |",
        "| train: d | yes | error: 00000000…<br>error: y |",
        "| train: e | yes | 90 rows<br>in quarantine: text_decodes |",
        "| train: f | yes | 90 rows |",
        "| score: g | yes | nothing, and writes its output |",
    ]

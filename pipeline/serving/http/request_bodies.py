"""Reads the messages of a request to the server, without tables of its columns, within limits."""

import csv
import io
import json
from collections.abc import Collection
from typing import Any, NamedTuple

from starlette.requests import Request

from pipeline.serving.labels import valid_unicode
from pipeline.sources.file_formats import unique_keys
from pipeline.sources.mail import read_mail

MAX_BYTES = 1 << 20  # of a body
MAX_MESSAGES = 2_000  # in a body; they take a second or two
JSON_TYPE, MAIL_TYPE = "application/json", "message/rfc822"
FORMS = (
    'send {"dataframe_records": [{"text": "..."}]}; '
    "dataframe_split, instances and inputs are read as MLflow documents them"
)


class RequestError(Exception):
    """A problem of a request: the status of its answer, and one line."""

    def __init__(self, status_code: int, problem: str) -> None:
        super().__init__(problem)
        self.status_code = status_code


def accepted_media_type(request: Request, media_types: Collection[str]) -> str:
    """The media type of a request whose headers are good.

    Args:
        media_types: which are accepted.

    Raises: RequestError.
    """
    length = request.headers.get("content-length", "")
    content_type = request.headers.get("content-type", "").lower()
    media_type, _, parameters = content_type.replace(" ", "").replace('"', "").partition(";")
    if media_type not in media_types or parameters not in ("", "charset=utf-8"):
        raise RequestError(415, f"send Content-Type {' or '.join(media_types)}, in UTF-8")
    if not length.isdecimal() or "transfer-encoding" in request.headers:
        raise RequestError(411, "no Content-Length")
    if int(length) > MAX_BYTES:
        limit = f"{MAX_BYTES:,} bytes"
        raise RequestError(413, f"the body has more than {limit}; send fewer messages at a time")
    return media_type


Cells = list[tuple[Any, Any]]  # text and source of each message; None where there is none


class Messages(NamedTuple):
    """The messages of a request."""

    texts: list[str]
    sources: list[str | None]
    is_list: bool = True  # False: the body is one message, and not in a list


def messages_in(body: bytes, media_type: str) -> Messages:
    """The messages of a body, one of each of its records or rows, in their order.

    Args:
        media_type: of READERS.

    Raises: RequestError.
    """
    return _checked(READERS[media_type](body))


def plain_messages_in(body: bytes, media_type: str, source: str | None = None) -> Messages:
    """The messages of a JSON body {"text": ..., "source": ...} or of a list of these, or of a mail.

    Args:
        media_type: JSON_TYPE or MAIL_TYPE.
        source: of a mail, if it is known.

    Raises: RequestError.
    """
    if media_type == MAIL_TYPE:
        return _checked([(read_mail(body).text, source)])._replace(is_list=False)
    return labelled_messages_in(body)[0]


def labelled_messages_in(body: bytes) -> tuple[Messages, list[Any]]:
    """The messages of a JSON body, as above, and the value of `label` of each, None without one.

    Raises: RequestError.
    """
    content = _parsed_json(body)
    records = content if isinstance(content, list) else [content]
    if not all(isinstance(record, dict) for record in records):
        raise RequestError(400, 'the body must be {"text": "..."} or a list of these')
    messages = _checked([(record.get("text"), record.get("source")) for record in records])
    labels = [record.get("label") for record in records]
    return messages._replace(is_list=isinstance(content, list)), labels


def _checked(cells: Cells) -> Messages:
    if len(cells) > MAX_MESSAGES:
        raise RequestError(413, f"more than {MAX_MESSAGES:,} messages; send fewer at a time")
    for row, (text, source) in enumerate(cells):
        if text is None:
            raise RequestError(400, f"row {row} has no text")
        for column, cell in (("text", text), ("source", source)):
            if not isinstance(cell, str | None):
                problem = f"{column} of row {row} is a {type(cell).__name__}, not a string"
                raise RequestError(400, problem)
    sources = [source and valid_unicode(source) for _, source in cells]
    return Messages([valid_unicode(text) for text, _ in cells], sources)


def _json_cells(body: bytes) -> Cells:
    """The cells of a JSON body in one of MLflow's forms."""
    content = _parsed_json(body)
    if not isinstance(content, dict) or len(content) != 1:
        raise RequestError(400, f"the body must be an object with one key; {FORMS}")
    match content:
        case {"dataframe_records": [*rows]} | {"instances": [*rows]} | {"inputs": [*rows]}:
            records = [row if isinstance(row, dict) else {} for row in rows]
            return [(record.get("text"), record.get("source")) for record in records]
        case {"dataframe_split": {"columns": [*columns], "data": [*rows]}}:
            return _cells_of_rows(columns, rows)
        case {"inputs": {"text": [*texts], **others}}:
            sources = others.get("source", [None] * len(texts))
            if not isinstance(sources, list) or len(sources) != len(texts):
                raise RequestError(400, "source has not one cell for each text")
            return list(zip(texts, sources, strict=True))
        case {"inputs": {"text": str(text), **others}}:
            return [(text, others.get("source"))]
    raise RequestError(400, f"the body is not in a known form; {FORMS}")


def _parsed_json(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=unique_keys)
    except (RecursionError, ValueError):  # also deeply nested lists, 5,000 digits, a key twice
        raise RequestError(400, "the body cannot be read as JSON") from None


def _csv_cells(body: bytes) -> Cells:
    """The cells of a CSV body with a header."""
    try:
        lines = io.StringIO(body.decode("utf-8-sig"), newline="")
        columns, *rows = csv.reader(lines, strict=True)
    except (csv.Error, ValueError):  # also not UTF-8, or no header
        raise RequestError(400, "the body cannot be read as CSV in UTF-8") from None
    return _cells_of_rows(columns, rows)


def _cells_of_rows(columns: list[Any], rows: list[Any]) -> Cells:
    """Texts and sources of rows, each a list of as many cells as there are columns."""
    if columns.count("text") != 1:
        raise RequestError(400, f"{columns.count('text')} columns are named text; name one")
    for row, cells in enumerate(rows):
        if not isinstance(cells, list) or len(cells) != len(columns):
            raise RequestError(
                400,
                f"row {row} does not have as many cells as there are columns ({len(columns)}); "
                "in CSV, put a text with a comma in quotation marks",
            )
    text = columns.index("text")
    source = columns.index("source") if "source" in columns else None
    return [(cells[text], None if source is None else cells[source]) for cells in rows]


READERS = {JSON_TYPE: _json_cells, "text/csv": _csv_cells}

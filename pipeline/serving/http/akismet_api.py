"""The endpoints of the Akismet API 1.1, so that forum software can ask this server in its place.

The text of a comment is `comment_content`, for answers and for feedback alike: author, addresses
and other fields are not read. Source: https://akismet.com/developers/detailed-docs/
"""

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.answering import Labelled
from pipeline.serving.http.feedback_api import Save
from pipeline.serving.http.feedback_store import LabelledText
from pipeline.serving.http.request_bodies import Messages, RequestError, accepted_media_type

VERIFY_PATH = "/1.1/verify-key"
CHECK_PATH = "/1.1/comment-check"
SUBMIT_PATHS = {"/1.1/submit-spam": "spam", "/1.1/submit-ham": "ham"}
AKISMET_PATHS = (VERIFY_PATH, CHECK_PATH, *SUBMIT_PATHS)
MEDIA_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 1_000  # of a form; WordPress sends some hundred
THANKS = "Thanks for making the web a better place."
FEEDBACK_OFF = "this server does not accept feedback; start it with --feedback"

Form = dict[str, str]
AnswerMessages = Callable[[Request, Messages], Awaitable[Labelled]]


def build_akismet_router(
    answer: AnswerMessages, save: Save | None, tokens: TokenFile | None
) -> APIRouter:
    """The routes of the API.

    Args:
        answer: the answers to the messages of a request.
        save: None: feedback is refused.
        tokens: one of which is the key of each request; None: any key is good.
    """
    router = APIRouter()

    def has_key(form: Form) -> bool:
        return tokens is None or tokens.allows(form.get("api_key") or form.get("key", ""))

    @router.post(VERIFY_PATH)
    async def verify_key(request: Request) -> Response:
        return PlainTextResponse("valid") if has_key(await _form_of(request)) else _invalid_key()

    @router.post(CHECK_PATH)
    async def comment_check(request: Request) -> Response:
        form = await _form_of(request)
        if not has_key(form):
            return _invalid_key()
        labelled = await answer(request, Messages([_comment_text(form)], [None]))
        return PlainTextResponse("true" if labelled.answers[0]["label"] == "spam" else "false")

    async def submit(request: Request) -> Response:
        form = await _form_of(request)
        if not has_key(form):
            return _invalid_key()
        if save is None:
            raise RequestError(403, FEEDBACK_OFF)
        if form.get("is_test", "").lower() not in ("1", "true"):
            await save(
                [LabelledText(_comment_text(form), SUBMIT_PATHS[request.url.path], "akismet")]
            )
        return PlainTextResponse(THANKS)

    for path in SUBMIT_PATHS:
        router.add_api_route(path, submit, methods=["POST"])
    return router


async def _form_of(request: Request) -> Form:
    """The fields of a request's form. Raises: RequestError."""
    # a browser may send a form to any address without asking, as no other content type
    if "origin" in request.headers:
        raise RequestError(403, "a web page may not send this; send it from your server")
    accepted_media_type(request, (MEDIA_TYPE,))
    body = (await request.body()).decode("utf-8", "replace")
    try:
        fields = parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise RequestError(400, f"the form has more than {MAX_FIELDS:,} fields") from None
    return dict(fields)


def _comment_text(form: Form) -> str:
    """The text of a comment. Raises: RequestError."""
    if "comment_content" not in form:
        raise RequestError(400, "the form has no comment_content")
    return form["comment_content"]


def _invalid_key() -> Response:
    headers = {"X-akismet-debug-help": "api_key is not a token of this server"}
    return PlainTextResponse("invalid", headers=headers)

"""Describes the server's requests and answers: as OpenAPI, and as a page that loads nothing."""

import json
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from pipeline.serving.http.request_bodies import MAX_BYTES, MAX_MESSAGES
from pipeline.validation.html_page import page_environment, render_page

Content = dict[str, Any]  # a part of the document

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
TITLE = "Spam filter"
LEAD = "Labels messages as ham or spam, with the version of the model that is the champion."

MESSAGE: Content = {
    "type": "object",
    "required": ["text"],
    "properties": {
        "text": {"type": "string"},
        "source": {"type": ["string", "null"], "description": "whose threshold to use"},
    },
}
PREDICTION: Content = {
    "type": "object",
    "required": ["label", "probability", "threshold", "confident"],
    "properties": {
        "label": {"enum": ["ham", "spam"]},
        "probability": {"type": "number", "minimum": 0, "maximum": 1, "description": "of spam"},
        "threshold": {"type": "number", "description": "at which a message is spam"},
        "confident": {"type": "boolean", "description": "false: for people to review"},
    },
}
ANSWER: Content = {
    "type": "object",
    "required": [*PREDICTION["required"], "refused", "model_version"],
    "properties": PREDICTION["properties"]
    | {
        "refused": {
            "type": ["string", "null"],
            "description": "the expectations that the message breaks, joined by a comma",
        },
        "model_version": {"type": "string"},
        "reasons": {
            "type": "object",
            "description": "with explain=true: logit = base + weights of the words + rest",
        },
    },
}
LABELLED: Content = {
    "type": "object",
    "required": ["text", "label"],
    "properties": MESSAGE["properties"] | {"label": {"enum": ["ham", "spam"]}},
}
ERROR: Content = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
SCHEMAS = {
    "Message": MESSAGE,
    "Labelled": LABELLED,
    "Prediction": PREDICTION,
    "Answer": ANSWER,
    "Error": ERROR,
}

SPAM = {"text": "WIN a prize now! Text CLAIM to 87121", "source": "sms"}
HAM = {"text": "are we still on for lunch?"}
PREDICTED = {"label": "spam", "probability": 0.9972, "threshold": 0.8327, "confident": True}
ANSWERED = {**PREDICTED, "refused": None, "model_version": "3"}

ERRORS = {  # by status: what is wrong, and the message of an example
    "400": ("The body or the header Host is not as it must be.", "row 0 has no text"),
    "401": ("The server needs a token, and this is none.", "send a token of the server"),
    "411": ("The length of the body is not given.", "no Content-Length"),
    "413": (
        f"More than {MAX_MESSAGES:,} messages or {MAX_BYTES:,} bytes.",
        f"more than {MAX_MESSAGES:,} messages; send fewer at a time",
    ),
    "415": (
        "The content type is another.",
        "send Content-Type application/json or message/rfc822, in UTF-8",
    ),
    "429": ("Too many requests wait.", "more than 256 requests at once; try again later"),
    "503": ("It took too long.", "no answer within 60 seconds; try again later"),
}


def _ref(name: str) -> Content:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Content, **examples: Any) -> Content:
    """Content as JSON, with examples by name."""
    named = {name: {"value": value} for name, value in examples.items()}
    return {"application/json": {"schema": schema, "examples": named}}


def _as_text(media_type: str, **examples: str) -> Content:
    """Content of another type, with examples by name."""
    named = {name: {"value": value} for name, value in examples.items()}
    return {media_type: {"schema": {"type": "string"}, "examples": named}}


def _error(description: str, message: str) -> Content:
    example = {"error_code": "BAD_REQUEST", "message": message}
    return {"description": description, "content": _json(_ref("Error"), error=example)}


def _post(summary: str, body: Content, answer: Content, **query: Content) -> Content:
    """A POST operation.

    Args:
        query: the schema of each parameter of the query.
    """
    parameters = [{"name": name, "in": "query", "schema": query[name]} for name in query]
    errors = {status: _error(*words) for status, words in ERRORS.items()}
    return {
        "post": {
            "summary": summary,
            "parameters": parameters,
            "requestBody": {"required": True, "content": body},
            "responses": {"200": {"description": "The answers.", "content": answer}, **errors},
        }
    }


def _get(summary: str, media_type: str) -> Content:
    content: Content = {media_type: {}}
    return {
        "get": {
            "summary": summary,
            "responses": {"200": {"description": "Yes.", "content": content}},
        }
    }


def _one_or_list(name: str) -> Content:
    return {"oneOf": [_ref(name), {"type": "array", "items": _ref(name)}]}


ENDPOINTS: Content = {
    "/score": _post(
        "Labels one message, each of a list, or a mail; says what each word weighs, if asked to.",
        _json(_one_or_list("Message"), one=SPAM, list=[SPAM, HAM])
        | _as_text("message/rfc822", mail="Subject: WIN a prize\n\nText CLAIM to 87121\n"),
        _json(_one_or_list("Answer"), one=ANSWERED, list=[ANSWERED]),
        explain={"type": "boolean", "default": False, "description": "adds reasons"},
        source={"type": "string", "description": "of a mail"},
    ),
    "/feedback": _post(
        "Saves labels for the next models; only of a server with --feedback.",
        _json(_one_or_list("Labelled"), one={**SPAM, "label": "spam"}),
        _json({"type": "object", "properties": {"saved": {"type": "integer"}}}, saved={"saved": 1}),
    ),
    "/invocations": _post(
        "Labels messages, with the requests and answers of MLflow's own server.",
        _json(
            {"type": "object", "minProperties": 1, "maxProperties": 1},
            dataframe_records={"dataframe_records": [SPAM, HAM]},
            dataframe_split={"dataframe_split": {"columns": ["text"], "data": [["lunch?"]]}},
            instances={"instances": [SPAM]},
            inputs={"inputs": {"text": [SPAM["text"], HAM["text"]]}},
        )
        | _as_text("text/csv", csv='text,source\n"WIN a prize, now",sms\n'),
        _json(
            {
                "type": "object",
                "required": ["predictions"],
                "properties": {"predictions": {"type": "array", "items": _ref("Prediction")}},
            },
            predictions={"predictions": [PREDICTED]},
        ),
    ),
    "/ready": _get("Whether all shapes of the network are compiled; 503 until then.", "*/*"),
    "/health": _get("Whether the server runs.", "*/*"),
    "/metrics": _get("Metrics for Prometheus.", "text/plain"),
    "/version": _get("The version of MLflow.", "*/*"),
}
DOCUMENT: Content = {
    "openapi": "3.1.0",
    "info": {"title": TITLE, "description": LEAD, "version": "1"},
    "paths": ENDPOINTS,
    "components": {
        "schemas": SCHEMAS,
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    },
    "security": [{}, {"token": []}],  # a server without --tokens needs none
}

BODY = """\
<p>The same as <a href="openapi.json">OpenAPI</a>.</p>
{% for path, operations in document.paths.items() %}
{% for method, operation in operations.items() %}
<h2>{{ method.upper() }} {{ path }}</h2>
<p>{{ operation.summary }}</p>
{% for media_type, content in operation.get("requestBody", {}).get("content", {}).items() %}
{% for example in content.examples.values() %}
<pre>Content-Type: {{ media_type }}

{{ write(example.value) }}</pre>
{% endfor %}
{% endfor %}
<table>
<tr><th>status</th><th>meaning</th><th>example</th></tr>
{% for status, response in operation.responses.items() %}
<tr><td>{{ status }}</td><td>{{ response.description }}</td><td>
{% for content in response.content.values() %}
{% for example in content.get("examples", {}).values() %}
<pre>{{ write(example.value) }}</pre>
{% endfor %}
{% endfor %}
</td></tr>
{% endfor %}
</table>
{% endfor %}
{% endfor %}
"""
STYLE_OF_EXAMPLES = "pre { white-space: pre-wrap; background: var(--soft); padding: .5rem }"


def add_documentation(app: Starlette) -> None:
    """Adds /openapi.json, and /docs for people."""
    page = documentation_page()

    async def document(request: Request) -> Response:
        return JSONResponse(DOCUMENT)

    async def docs(request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_POLICY})

    app.add_route("/openapi.json", document)
    app.add_route("/docs", docs)


def documentation_page() -> str:
    """The document as HTML, which needs no network and runs no script."""
    body = page_environment().from_string(BODY).render(document=DOCUMENT, write=_written)
    return render_page(TITLE, LEAD, body, STYLE_OF_EXAMPLES)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

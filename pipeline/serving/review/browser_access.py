"""Which requests of a browser the review page answers, and what it may keep of the answers."""

from fastapi import Request

PLAIN_HEADERS = {
    "Cache-Control": "no-store",  # no copy of a message stays in the browser's files
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def is_foreign(request: Request) -> bool:
    """Whether another web page makes this browser send the request.

    A link to the page itself is allowed: it has no message in it.
    """
    origin = request.headers.get("origin")
    if origin is not None and origin != f"http://{request.headers.get('host')}":
        return True
    site = request.headers.get("sec-fetch-site", "none")
    return site not in ("same-origin", "none") and request.url.path != "/"

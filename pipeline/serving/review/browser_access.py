"""What a browser may do: send requests of the page itself, and load nothing from elsewhere."""

import base64
import hashlib
import re

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


def content_policy(page: str) -> str:
    """A Content-Security-Policy under which nothing but the page's own style and script counts."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src {_hashes(page, 'style')}",
            f"script-src {_hashes(page, 'script')}",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hashes(page: str, tag: str) -> str:
    contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = [hashlib.sha256(content.encode()).digest() for content in contents]
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

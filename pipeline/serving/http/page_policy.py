"""What a page of ours may load and run in a browser: nothing from elsewhere."""

import base64
import hashlib
import re


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

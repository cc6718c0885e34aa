"""Who may ask a server that other machines reach: whoever sends a token of a file."""

import hashlib
import hmac
import logging
from collections.abc import Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_errors

log = logging.getLogger(__name__)

SHORTEST_TOKEN = 20  # characters
OPEN_PATHS = ("/health", "/ping", "/ready")  # for load balancers; they say nothing of messages
TOKENS_REMEDY = 'write one there, as from: python -c "import secrets; print(secrets.token_hex())"'


class TokenFile:
    """A file with a token a line, which is read again when it changes.

    Raises: PipelineError, in the beginning; later the old tokens stay if the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._changed = self._time_of_change()
        self._digests = _read_digests(path)

    def allows(self, token: str) -> bool:
        """Whether the token is in the file; takes the same time for each wrong one."""
        self._read_again()
        digest = _digest(token)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0

    def _read_again(self) -> None:
        try:
            changed = self._time_of_change()
            if changed != self._changed:
                self._changed = changed
                self._digests = _read_digests(self._path)
        except PipelineError as error:
            log.warning("serve: the tokens stay as they were: %s", error)

    def _time_of_change(self) -> int:
        with read_errors(self._path, TOKENS_REMEDY):
            return self._path.stat().st_mtime_ns


def _read_digests(path: Path) -> list[bytes]:
    with read_errors(path, TOKENS_REMEDY):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    tokens = [line.strip() for line in lines if line.strip()]
    if not tokens:
        raise PipelineError(f"{path}: no token; {TOKENS_REMEDY}")
    for number, token in enumerate(tokens, start=1):
        if len(token) < SHORTEST_TOKEN:
            problem = f"token {number} has fewer than {SHORTEST_TOKEN} characters"
            raise PipelineError(f"{path}: {problem}; {TOKENS_REMEDY}")
    return [_digest(token) for token in tokens]


def _digest(token: str) -> bytes:
    """Of one length, so that a comparison does not tell the length of a token."""
    return hashlib.sha256(token.encode("utf-8", "backslashreplace")).digest()


class TokenCheck:
    """Answers 401 to requests without `Authorization: Bearer TOKEN`, but for open paths."""

    def __init__(
        self, app: ASGIApp, tokens: TokenFile, open_paths: Sequence[str] = OPEN_PATHS
    ) -> None:
        self.app = app
        self.tokens = tokens
        self.open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in self.open_paths:
            scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not self.tokens.allows(token.strip()):
                content = {"error_code": "UNAUTHENTICATED", "message": "send a token of the server"}
                headers = {"WWW-Authenticate": "Bearer"}
                await JSONResponse(content, 401, headers)(scope, receive, send)
                return
        await self.app(scope, receive, send)

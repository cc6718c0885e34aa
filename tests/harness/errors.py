"""The message of an expected error."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.core.errors import PipelineError


def error_of(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> str:
    """The message of the PipelineError that this call raises."""
    with pytest.raises(PipelineError) as raised:
        call(*arguments, **keywords)
    return str(raised.value)

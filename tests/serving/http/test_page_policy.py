"""The policy of a page names what the page holds."""

import base64
import hashlib

from pipeline.serving.http.page_policy import content_policy


def test_policy_has_the_hash_of_each_style_and_script():
    policy = content_policy("<style>a{}</style><script>one()</script><script>two()\n</script>")
    for content in ("a{}", "one()", "two()\n"):
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; style-src 'sha256-")

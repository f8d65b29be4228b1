"""The web page: plain files under `static/`, served as they are at `/` and `/static/`.

House rules: no build step, no framework, nothing from elsewhere; it works without a network under the content security
policy `default-src 'self'`, so there is no inline script and no style attribute. What the API answers becomes text,
never markup.
"""

from pathlib import Path

STATIC = Path(__file__).parent / "static"

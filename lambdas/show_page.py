"""GET /: the page where a browser drops a photo and sees the classes.

Runs in AWS Lambda behind API Gateway. The page is one file without any outside part, and its policy allows nothing else: the only
script and style that may run are those whose hashes stand in the header.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from lambdas.aws.log import log

PAGE = Path(__file__).with_name("page.html")


def handler(_event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Entry point of the Lambda function."""
    page, policy = read_page()
    log("PageShown")
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    return {"statusCode": 200, "headers": headers, "body": page, "isBase64Encoded": False}


@cache
def read_page() -> tuple[str, str]:
    """The page and its Content-Security-Policy."""
    page = PAGE.read_text(encoding="utf-8")
    return page, (
        f"default-src 'none'; script-src {hash_of(page, 'script')}; style-src {hash_of(page, 'style')}; img-src blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def hash_of(page: str, element: str) -> str:
    """The source expression `'sha256-…'` of the page's only element of that name."""
    (text,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

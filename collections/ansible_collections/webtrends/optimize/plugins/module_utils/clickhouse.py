# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ClickHouse over HTTP with the standard library: what modules on a host need, for 18.16 and for today's engine alike."""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import Any

# What the servers put before a message: "Code: 241, e.displayText() = DB::Exception: ..." (18.16), "Code: 241. DB::Exception: ..." (today).
CODE = re.compile(r"^Code: (\d+)[,.] (?:e\.displayText\(\) = )?(?:DB::)?(?:NetException|Exception)?:? ?")
# A message longer than this is a copy of the query; the beginning says what is wrong.
LONGEST_MESSAGE = 600


class ClickHouseError(Exception):
    """The server refused, or could not be asked.

    Attributes:
        code: ClickHouse's number of the error (src/Common/ErrorCodes.cpp); None where no server answered.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Unreachable(ClickHouseError):
    """No answer: refused, timed out, or closed in the middle."""


@dataclass(frozen=True)
class Client:
    """One user on one server.

    Attributes:
        timeout: seconds without a byte after which the server counts as unreachable.
    """

    host: str
    port: int
    user: str
    password: str
    timeout: float = 10.0

    @property
    def name(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"

    def execute(self, sql: str, data: str | None = None, **settings: Any) -> str:
        """Run one statement and return what it prints.

        Args:
            sql: the statement; with `data`, an INSERT that ends in its FORMAT.
            settings: settings of this query alone.

        Raises:
            Unreachable: nobody answered.
            ClickHouseError: the server refused; its message and code.
        """
        # Without wait_end_of_query an error in the middle comes after a 200.
        parameters = {"wait_end_of_query": 1, **settings}
        body = sql
        if data is not None:
            parameters["query"] = sql
            body = data
        status, answer = self._post("/?" + urllib.parse.urlencode(parameters), body)
        if status != 200:
            raise error_of(answer, f"{self.name}: HTTP {status}")
        return answer

    def rows(self, sql: str, **settings: Any) -> list[dict[str, Any]]:
        """The rows of a SELECT (without FORMAT), 64-bit integers as numbers."""
        answer = self.execute(f"{sql} FORMAT JSONEachRow", output_format_json_quote_64bit_integers=0, **settings)
        return [json.loads(line) for line in answer.splitlines() if line]

    def _post(self, path: str, body: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            # In headers, so that no log of addresses holds the password.
            connection.request("POST", path, body.encode(), {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password})
            response = connection.getresponse()
            return response.status, response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.name} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()


def error_of(answer: str, prefix: str) -> ClickHouseError:
    """The error in a server's answer."""
    text = answer.strip()
    found = CODE.match(text)
    if found:
        text = f"code {found.group(1)}: {text[found.end() :]}"
    return ClickHouseError(f"{prefix}: {text[:LONGEST_MESSAGE]}", int(found.group(1)) if found else None)


# Options that each module has which talks to a server.
CONNECTION_OPTIONS: dict[str, dict[str, Any]] = {
    "port": {"type": "int", "default": 8123},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
}

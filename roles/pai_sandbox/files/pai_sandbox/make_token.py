"""Make an application token, as a user does on the portal's profile page: ``python -m pai_sandbox.make_token … --username U``.

Prints the token. The server may run meanwhile. On a cluster with OIDC this is the only way to one.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .store import Store
from .tokens import Tokens
from .users import Users


def main(arguments: list[str] | None = None) -> int:
    """Store and print a token; 2 for an unknown user."""
    parser = argparse.ArgumentParser(prog="pai_sandbox.make_token", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--users-file", type=Path, required=True)
    parser.add_argument("--username", required=True)
    given = parser.parse_args(arguments)
    store = Store(given.state_dir / "pai.sqlite")
    try:
        users = Users(given.users_file, store)
        if users.get(given.username) is None:
            known = ", ".join(user.username for user in users.all())
            sys.stderr.write(f"user {given.username} is not known; known: {known}\n")
            return 2
        sys.stdout.write(f"{Tokens(store, users).create(given.username, application=True)}\n")
    finally:
        store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

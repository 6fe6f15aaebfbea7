"""Submits a job exactly once: after an odd answer to the POST it looks before it submits again."""

from __future__ import annotations

import time
from collections.abc import Callable

from .pai_client import PaiClient, PaiError
from .pai_session import RATE_LIMIT_WAIT_S

#: Longest time in which a submit is looked up and tried again.
SUBMIT_TIMEOUT_S = 120.0
#: Pauses before it is looked up; the last one repeats.
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)

#: Does the cluster have a job of this name: with what is submitted here (True), with something else (False), not at all (None)?
Look = Callable[[], "bool | None"]


def submit(client: PaiClient, name: str, yaml_text: str, look: Look, *, timeout_s: float = SUBMIT_TIMEOUT_S) -> bool:
    """True when this call made the job, False when the same job was there before.

    A lost connection, a 5xx and a 404 (users have seen one for a job that was made, microsoft/pai #5769) leave open whether
    the job was made. It is then looked up until the cluster answers, and only sent again when it is not there.
    Raises PaiError; status 409 when the name is taken by something else. The message says whether a job may exist.
    """
    deadline = time.monotonic() + min(timeout_s, SUBMIT_TIMEOUT_S)
    unclear = False
    tries = 0
    while True:
        try:
            client.post_job(yaml_text)
            return True
        except PaiError as error:
            if error.status == 409:
                if look():
                    return unclear
                raise _taken(client, name) from None
            if not error.transient and not _may_be_made(error):
                raise _refused(client, error) from None
            last = error
        if last.status == 429:
            if last.retry_after_s > min(RATE_LIMIT_WAIT_S, deadline - time.monotonic()):
                raise _not_made(client, name, last)
            time.sleep(max(_pause_s(tries), last.retry_after_s))
        else:
            unclear = True
            found = _look_until(deadline, client, name, look, last, tries)
            if found is not None:
                if found:
                    return True
                raise _taken(client, name)
        tries += 1
        if time.monotonic() >= deadline:
            raise _not_made(client, name, last)


def _look_until(deadline: float, client: PaiClient, name: str, look: Look, last: PaiError, tries: int) -> bool | None:
    """The first answer of `look`; PaiError when the cluster gives none in time."""
    while True:
        time.sleep(max(_pause_s(tries), min(last.retry_after_s, RATE_LIMIT_WAIT_S)))
        try:
            return look()
        except PaiError as error:
            if not error.transient:
                raise
            tries += 1
            if time.monotonic() >= deadline:
                raise PaiError(
                    f"Whether the job {name!r} was made on {client.address} is not known: {str(last).rstrip('.')}. "
                    "Run this again when the cluster answers: a job of this name with the same config is found and never made twice.",
                    status=last.status,
                    code=last.code,
                    transient=True,
                ) from None


def _pause_s(tries: int) -> float:
    return PAUSES_S[min(tries, len(PAUSES_S) - 1)]


def _may_be_made(error: PaiError) -> bool:
    """A 404 that does not name its reason (a missing storage has a code of its own)."""
    return error.status == 404 and error.code in ("", "NoJobError", "NoApiError")


def _taken(client: PaiClient, name: str) -> PaiError:
    return PaiError(
        f"The job name {name!r} is already used on {client.address}; OpenPAI never frees a name, choose another.",
        status=409,
        code="ConflictJobError",
    )


def _not_made(client: PaiClient, name: str, error: PaiError) -> PaiError:
    return PaiError(
        f"The job {name!r} could not be submitted and was not made: {error}",
        status=error.status,
        code=error.code,
        transient=True,
        retry_after_s=error.retry_after_s,
    )


def _refused(client: PaiClient, error: PaiError) -> PaiError:
    """The server's refusal; a virtual cluster is told from its words, as it has no code of its own."""
    if error.status == 403 and "not allowed to do operation in" in str(error):
        cluster = str(error).rsplit(" ", 1)[-1].rstrip(".")
        return PaiError(
            f"The virtual cluster {cluster!r} does not exist on {client.address} or is not granted to {client.user}.",
            status=error.status,
            code=error.code,
        )
    return error

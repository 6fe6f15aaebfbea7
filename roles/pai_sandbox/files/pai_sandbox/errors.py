"""The server's error answers: ``{"code", "message"}``, the code only when the error is a deliberate one."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

JSON_TYPE = "application/json; charset=utf-8"


class PaiError(Exception):
    """An answer other than success; ``code`` None stands for errors that the real server did not plan."""

    def __init__(self, status: int, code: str | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def answer(content: Any, status: int = 200) -> JSONResponse:
    """A JSON answer with the content type that Express sends."""
    return JSONResponse(content, status_code=status, headers={"content-type": JSON_TYPE})


def error_answer(error: PaiError) -> JSONResponse:
    """The JSON answer for an error."""
    content = {"message": error.message} if error.code is None else {"code": error.code, "message": error.message}
    return answer(content, error.status)


def invalid_parameters(message: str) -> PaiError:
    """400 for a body or a query value that is not allowed."""
    return PaiError(400, "InvalidParametersError", message)


def invalid_protocol(message: str) -> PaiError:
    """400 for a job file that breaks the protocol."""
    return PaiError(400, "InvalidProtocolError", message)


def no_api(url: str) -> PaiError:
    """404 for an unknown path or method."""
    return PaiError(404, "NoApiError", f"API {url} is not found.")


def no_job(frame: str) -> PaiError:
    """404 for an unknown job."""
    return PaiError(404, "NoJobError", f"Job {frame} is not found.")


def forbidden(message: str) -> PaiError:
    """403."""
    return PaiError(403, "ForbiddenUserError", message)


def no_job_attempt(message: str) -> PaiError:
    """404 for an unknown attempt or task of a job."""
    return PaiError(404, "NoJobError", message)

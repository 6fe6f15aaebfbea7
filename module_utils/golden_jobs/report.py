"""The record of one run, for people: what is kept of a task's result, what is masked, and the page. Pure; nothing reads records to decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from . import golden_job, secret_scan
from .html_page import Markup, moment, page, state, table

MASK = "******"
#: What of a result is worth keeping; long texts are cut.
KEPT = (
    *("reference", "tag", "context_digest", "registry_digest", "image_id", "size_mb", "digest", "digests", "reason"),
    *("name", "address", "state", "exit_code", "exit_meaning", "submitted", "deleted", "removed", "counts"),
)
_LONGEST = 600


def masked_inputs(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Variables as they may be shown, and the texts that must be shown nowhere. Whatever is below the name of a secret is one."""
    secrets: list[str] = []

    def one(name: str, value: Any, hidden: bool) -> Any:
        hidden = hidden or name.startswith("vault_") or name == "report_webhook_url"
        if isinstance(value, Mapping):
            hidden = hidden or secret_scan.is_secret_name(name)
            return {str(key): one(str(key), item, hidden) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [one(name, item, hidden) for item in value]
        if isinstance(value, (bool, int, float)) or value is None:
            return value
        if (secret_scan.is_plain_value(str(value)) and hidden) or secret_scan.is_secret(name, str(value)):
            secrets.append(str(value))
            return MASK
        return str(value)

    shown = {name: one(name, value, False) for name, value in given.items()}
    # Ansible's own add nothing to a record, but their secrets stand on the command line, too.
    return {name: value for name, value in shown.items() if not name.startswith("ansible_")}, secrets


def without(secrets: Iterable[str], value: Any) -> Any:
    """The value with each secret masked wherever it stands."""
    if isinstance(value, str):
        for secret in secrets:
            if len(secret) >= 4:
                value = value.replace(secret, MASK)
        return MASK if secret_scan.in_value(value) else value
    if isinstance(value, Mapping):
        return {key: without(secrets, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without(secrets, item) for item in value]
    return value


def details(result: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a result: short texts, numbers, and lists of them."""
    found = {}
    for key in KEPT:
        value = result.get(key)
        if isinstance(value, str):
            value = value[:_LONGEST]
        if value not in (None, "", [], {}):
            found[key] = value
    return found


def remember(known: list[dict[str, Any]], entries: Iterable[Any]) -> None:
    """Add what steps of a rollout say (`golden_job_records`) to the one row per course and cluster in `known`.

    A row keeps what the last step said and, in `steps`, the seconds of each; a failure stays, whatever is cleaned up afterwards.
    """
    for entry in entries:
        if not isinstance(entry, Mapping):
            continue
        said = {key: value for key, value in entry.items() if key not in ("step", "seconds") and value not in (None, "")}
        row = next((one for one in known if all(one.get(key) == entry.get(key) for key in ("course", "cluster"))), None)
        if row is None:
            row = {"steps": {}}
            known.append(row)
        if row.get("outcome") == "failed":
            said = {key: value for key, value in said.items() if key not in ("outcome", "reason")}
        row.update(said)
        step = str(entry.get("step") or "")
        row["steps"][step] = round(row["steps"].get(step, 0.0) + float(entry.get("seconds") or 0.0), 2)


def subject(host: str, name: str, message: str, courses: Iterable[str]) -> str:
    """The course that a step is about: its host, else the one of the Golden Job that it names."""
    if host in courses:
        return host
    parsed = golden_job.parse_name(name)
    if parsed is None:
        words = (word.strip("'\"(),.;:") for word in message.split() if golden_job.NAME_PREFIX in word)
        parsed = next((found for found in map(golden_job.parse_name, words) if found), None)
    return str(parsed["course"]) if parsed else ""


def outcome(steps: Iterable[Mapping[str, Any]], failed_hosts: Iterable[str], check: bool) -> str:
    """`failed`, `changed` or `ok`; of a check nothing is changed."""
    if any(True for _host in failed_hosts):
        return "failed"
    return "changed" if not check and any(step["outcome"] == "changed" for step in steps) else "ok"


def sentence(record: Mapping[str, Any]) -> str:
    """The run in one line: `rebuild: failed after 75 s (OOB3), by alice@desk: …`."""
    course = record["inputs"].get("course")
    failures = [step["message"] for step in record["steps"] if step["outcome"] == "failed" and step["message"]]
    what = f" ({course})" if course else ""
    check = ", a check" if record["check"] else ""
    why = f": {failures[-1]}" if failures else ""
    return f"{record['playbook']}{what}: {record['outcome']} after {record['seconds']:.0f} s{check}, by {record['by']}{why}"


def html(record: Mapping[str, Any]) -> str:
    """The page of one record."""
    facts = [
        ["By", record["by"]],
        ["Began", moment(record["began_s"])],
        ["Took", f"{record['seconds']:.0f} s"],
        ["Command", Markup(f"<code>{escape(record['command'])}</code>")],
        ["Git commit", Markup(f"<code>{escape(record['commit'] or 'none')}</code>{' and changes' if record['dirty'] else ''}")],
        *([f"-e {name}", str(value)] for name, value in record["inputs"].items()),
    ]
    parts = [
        f"<h1>{escape(record['playbook'])} {state(record['outcome'])}</h1>",
        f'<p class="soft">{escape(sentence(record))}</p>',
        table(["What", "Value"], facts),
    ]
    if record["golden_jobs"]:
        rows = [_golden_job(one) for one in record["golden_jobs"]]
        head = ["Course", "Cluster", "Outcome", "Action", "Revision", "Image", "Digest", "Took", "Reason"]
        parts += ["<h2>Golden Jobs</h2>", table(head, rows)]
    rows = [
        [step["course"], step["host"], state(step["outcome"]), step["task"], f"{step['seconds']:.1f}\u00a0s", _notes(step)]
        for step in record["steps"]
    ]
    parts += [
        "<h2>Steps</h2>",
        table(["Course", "Host", "Outcome", "Step", "Took", "Details"], rows) if rows else "<p>Nothing was done.</p>",
    ]
    return page(f"{record['playbook']}: {record['outcome']}", parts)


def _golden_job(one: Mapping[str, Any]) -> list[Any]:
    shown = [one.get(key) for key in ("action", "revision", "image", "digest")]
    took = ", ".join(f"{step} {seconds:.1f}" for step, seconds in one["steps"].items() if seconds >= 0.05)
    total = sum(one["steps"].values())
    return [
        *(one.get("course"), one.get("cluster"), state(str(one.get("outcome") or "ok")), *shown),
        f"{total:.1f} s{f' ({took})' if took else ''}",
        one.get("reason"),
    ]


def _notes(step: Mapping[str, Any]) -> str:
    return "\n".join(filter(None, [step["message"], ", ".join(f"{key} {value}" for key, value in step["details"].items())]))

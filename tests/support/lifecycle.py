"""Draws the table of transitions in docs/lifecycle.md: `python -m tests.support.lifecycle` writes it anew."""

from pathlib import Path

from docket_core.backend.states import TRANSITIONS, Stage, Trigger

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "lifecycle.md"
BEGIN, END = "<!-- begin: drawn from states.TRANSITIONS -->\n", "<!-- end -->\n"


def table() -> str:
    """What happens down the side, where the key stands along the top, where it leads in the cells."""
    targets = {(row.source, row.trigger): row.target for row in TRANSITIONS}
    lines = [
        "| " + " | ".join(["", *(f"**{stage.value}**" for stage in Stage)]) + " |",
        "|---" * (1 + len(Stage)) + "|",
    ]
    for trigger in Trigger:
        cells = [targets[stage, trigger].value if (stage, trigger) in targets else "" for stage in Stage]
        lines.append("| " + " | ".join([trigger.value, *cells]) + " |")
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """The document with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}{table()}{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))

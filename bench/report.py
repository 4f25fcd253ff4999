"""What a benchmark found: a table for people, JSON for comparing, and the machine it was found on."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from radloop import __version__

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, and what the machine does at best with the same bytes in the same run.

    Attributes:
        value: What radloop reached, in `unit`.
        limit: What the comparison reached, in the same unit; None where there is none.
    """

    what: str
    value: float
    unit: str
    limit: float | None = None
    against: str = ""

    @property
    def ratio(self) -> float | None:
        """Value per limit."""
        return None if not self.limit else self.value / self.limit


def machine() -> dict[str, str | int]:
    """Processor, cores, kernel and Python of this machine."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count() or 1,
        "system": platform.system() + " " + platform.release(),
        "python": platform.python_version(),
    }


def tell(name: str, data: str, rows: Sequence[Row], load_before: float) -> None:
    """Print the table and write `results/<name>.json`.

    Args:
        name: Of the benchmark.
        data: What it ran on, in words.
        rows: What it found.
        load_before: Load average of one minute when it began, without its own work.
    """
    here, date = machine(), datetime.now(UTC)
    table = Table(title=name, title_justify="left", box=None, caption_justify="left")
    for heading in ("", "radloop", "limit", "ratio", "unit", "limit is"):
        justify = "right" if heading in {"radloop", "limit", "ratio"} else "left"
        table.add_column(heading, no_wrap=heading != "", overflow="fold", justify=justify)
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:.4g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        table.add_row(row.what, f"{row.value:.4g}", limit, ratio, row.unit, row.against)
    table.caption = (
        f"{data}\n{here['processor']}, {here['cores']} cores, load {load_before:.1f} before,"
        f" {date:%Y-%m-%d %H:%M} UTC, radloop {__version__}"
    )
    Console(width=130).print(table)
    RESULTS.mkdir(exist_ok=True)
    document = {
        "name": name,
        "data": data,
        "machine": here,
        "load_before": load_before,
        "date": date.isoformat(timespec="seconds"),
        "version": __version__,
        "rows": [{**asdict(row), "ratio": row.ratio} for row in rows],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")

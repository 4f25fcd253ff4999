"""Where the data lie that Python and Terraform both read."""

from importlib.resources import files
from pathlib import Path


def contracts() -> Path:
    """The folder of contracts: inside the package once it is installed, beside it in the repository."""
    shipped = Path(str(files("radloop"))) / "contracts"
    return shipped if shipped.is_dir() else Path(__file__).resolve().parents[2] / "contracts"

"""Log lines: JSON, one object a line, without patient data."""

import json
import logging
import sys


def log_to_stderr(level: int = logging.WARNING) -> None:
    """Send the lines of every radloop logger to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("radloop")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message. Messages are ours and hold no patient data."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(line)

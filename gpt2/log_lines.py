"""The program's log: sentences for people, or lines of JSON for programs. Never what was typed."""

import json
import logging
import time

_OWN = frozenset(vars(logging.makeLogRecord({})))  # attributes that every record has


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what else the record was given."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as a line; of an exception its type alone, since its words may be a prompt."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            told["exception"] = record.exc_info[0].__name__
        told |= {name: value for name, value in vars(record).items() if name not in _OWN}
        return json.dumps(told, default=str)


def start_log(*, as_json: bool) -> None:
    """Write the log to standard error: warnings and errors, as JSON each request too."""
    lines = logging.StreamHandler()
    if as_json:
        lines.setFormatter(JsonLines())
        logging.getLogger("gpt2").setLevel(logging.INFO)
    else:
        lines.setLevel(logging.WARNING)  # whatever others want to hear of
        lines.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])

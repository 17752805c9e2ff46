"""`python -m gpt2.pretrain`: a GPT-2 from random weights, trained to predict the next token.

Imports: torch, tqdm.
"""

import argparse
import json
import sys

from tqdm import tqdm

from gpt2.command import add_debug_flag, add_settings, run_training, settings_of, shown, typed
from gpt2.devices import pick_device
from gpt2.training.pretraining import Pretraining, PretrainRun, PretrainSettings
from gpt2.training.processes import process_group, rank


def parser() -> argparse.ArgumentParser:
    """Command line, with defaults and units."""
    made = argparse.ArgumentParser(
        prog="python -m gpt2.pretrain", description="Train a GPT-2 from random weights."
    )
    add_settings(made, PretrainRun)
    add_settings(made, PretrainSettings)
    add_debug_flag(made)
    return made


def main(argv: list[str] | None = None) -> int:
    """Run from the command line."""
    made = parser()
    args = made.parse_args(argv)
    try:
        where, settings = settings_of(PretrainRun, args), settings_of(PretrainSettings, args)
    except ValueError as error:
        made.error(str(error))

    def work() -> int:
        device = pick_device(where.device)
        with process_group(device, where.out):
            job, leads = Pretraining(settings, where, device), rank() == 0
            for point in shown(job.train(), total=job.total_tokens, unit="tok", quiet=not leads):
                if point.held_out is not None and leads:
                    tqdm.write(json.dumps(job.record(point)))
            metrics = {"command": typed("python -m gpt2.pretrain", argv), **job.metrics()}
            if leads:
                job.write(metrics)
        if leads:
            print(json.dumps(metrics, indent=1))
        return 0

    return run_training("gpt2.pretrain", work, debug=args.debug, out=where.out)


if __name__ == "__main__":
    sys.exit(main())

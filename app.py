"""Open the GPT-2 page: python app.py. The entry point of the Space too.

Interrupted while it is starting it ends with status 1; a page that is open, with 0.
"""

import sys

from gpt2.ending import end_at_once

if __name__ == "__main__":  # before the imports that take a while
    end_at_once("app.py")

import argparse
import os
from typing import Any

from gpt2.command import run_command
from gpt2.config import DTYPES
from gpt2.flags import add_debug_flag
from gpt2.log_lines import start_log
from gpt2.space import on_zerogpu


def parser() -> argparse.ArgumentParser:
    """Command line; a Space passes no flags, so their defaults come from the environment."""
    made = argparse.ArgumentParser(
        description="Open the GPT-2 page.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, env = made.add_argument, os.environ.get
    everyone = "0.0.0.0" if env("SPACE_ID") else "127.0.0.1"
    add(
        "--model",
        default=env("GPT2_MODEL", "mini"),
        metavar="NAME|DIR|SIZE",
        help="language model: a name in checkpoints/, a model directory, or 124M, 355M, 774M or "
        "1558M from the Hugging Face hub (or GPT2_MODEL)",
    )
    add(
        "--classifier",
        default=env("GPT2_CLASSIFIER", "mini-agnews"),
        metavar="NAME|DIR",
        help="classifier: likewise (or GPT2_CLASSIFIER)",
    )
    add(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="where to compute; auto takes a GPU if there is one",
    )
    add(
        "--dtype",
        choices=("auto", *DTYPES),
        default="auto",
        help="number type of the weights; auto is bfloat16 on a GPU and float32 elsewhere; a CPU "
        "(for int8 it must be one) stores matrices in bfloat16 or int8, and computes in float32",
    )
    add("--host", default=env("GRADIO_SERVER_NAME", everyone), help="address to listen on")
    add(
        "--port",
        type=int,
        default=env("GRADIO_SERVER_PORT", "7860"),
        help="port to listen on, 1 to 65535",
    )
    add("--share", action="store_true", help="open a public link for up to a week")
    add("--auth", metavar="USER:PASSWORD", help="ask visitors for this name and password")
    add("--mcp", action="store_true", help="serve the API as MCP tools too (needs gradio[mcp])")
    add(
        "--root-path",
        default=env("GRADIO_ROOT_PATH", ""),
        metavar="/PATH",
        help="path under which a proxy serves the page (or GRADIO_ROOT_PATH)",
    )
    add(
        "--trusted-proxy",
        default=env("FORWARDED_ALLOW_IPS", "10.0.0.0/8" if env("SPACE_ID") else ""),
        metavar="ADDRESS",
        help="believe this proxy (or network, or several with commas) whom it serves; each visitor "
        "has a share of the page (or FORWARDED_ALLOW_IPS)",
    )
    add("--metrics", action="store_true", help="answer Prometheus at /metrics (prometheus-client)")
    add("--log-json", action="store_true", help="write the log as JSON, a line for each request")
    add("--max-new-tokens", type=int, default=512, metavar="N", help="most tokens of a completion")
    add(
        "--replicas",
        type=int,
        metavar="N",
        help="so many processes hold the models, and the page goes on where one is lost; with "
        'RAY_ADDRESS in that Ray cluster (needs "ray[serve]"; without it the page\'s own process)',
    )
    add_debug_flag(made)
    return made


def main(argv: list[str] | None = None) -> int:
    """Load the models, open the page and serve until interrupted."""
    made = parser()
    args = made.parse_args(argv)
    if args.auth is not None and not all(args.auth.partition(":")):
        made.error("--auth must be USER:PASSWORD, with a colon between the two and neither empty")
    if not 1 <= args.port <= 65535:
        made.error(f"--port is {args.port}; it must be 1 to 65535")
    if args.max_new_tokens < 1:
        made.error(f"--max-new-tokens is {args.max_new_tokens}; it must be at least 1")
    if args.root_path and not args.root_path.startswith(("/", "http://", "https://")):
        made.error(f"--root-path is {args.root_path!r}; it must begin with /")
    if args.replicas is not None and args.replicas < 1:
        made.error(f"--replicas is {args.replicas}; it must be at least 1")
    if args.replicas is not None and on_zerogpu():
        made.error("--replicas is for machines of one's own; a ZeroGPU Space has its own processes")
    start_log(as_json=args.log_json)

    def work() -> int:
        if on_zerogpu():
            import gpt2.ui  # noqa: F401  # with what patches torch there, and so comes before it
        from gpt2.engine import Engine, Limits

        wanted: dict[str, Any] = {
            "model": args.model,
            "classifier": args.classifier,
            "device": args.device,
            "dtype": args.dtype,
            "limits": Limits(new_tokens=args.max_new_tokens),
        }
        engine: Engine
        if args.replicas is None and not on_zerogpu():
            engine = Engine.load(**wanted)
        else:
            from gpt2.engine.remote import RemoteEngine

            engine = remote = RemoteEngine.load(**wanted, replicas=args.replicas)
            remote.renew_on_hangup()
        from gpt2.ui.serve import serve

        return serve(
            engine,
            host=args.host,
            port=args.port,
            share=args.share,
            auth=tuple(args.auth.split(":", 1)) if args.auth else None,
            mcp=args.mcp,
            metrics=args.metrics,
            root_path=args.root_path.rstrip("/"),
            trusted_proxies=args.trusted_proxy,
        )

    return run_command("app.py", work, debug=args.debug)


if __name__ == "__main__":
    sys.exit(main())

"""Ray, which runs processes on this machine or on several: it is joined or started here."""

import logging
import os
import secrets
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORE = 128 * 2**20  # bytes of Ray's memory for what processes share; records are smaller


def start_ray(flag: str, package: str) -> None:
    """Join the cluster at RAY_ADDRESS, or start a Ray of this process's own.

    Args:
        flag: that asked for it.
        package: that has it.

    Raises:
        ValueError: Ray is missing.
        ConnectionError: no cluster answers.
    """
    address = os.environ.get("RAY_ADDRESS")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would phone home
    if address is None:  # nobody else on this machine is to run code in it
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
    except ImportError:
        raise ValueError(
            f'{flag} needs Ray, which is missing here; pip install "{package}"'
        ) from None
    if ray.is_initialized():
        return
    own = {} if address else {"include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(
            address=address or "local",
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            log_to_driver=False,
            logging_level=logging.ERROR,
            **own,
        )
    except (ConnectionError, RuntimeError) as error:
        raise ConnectionError(
            f"no Ray cluster answers at RAY_ADDRESS {address} ({' '.join(str(error).split())}); "
            "start one with ray start --head"
        ) from None


def fitting(share: float) -> float:
    """What of a resource one replica reserves, so that all of them fit whatever machines there are.

    Args:
        share: of all that there is, if it were divided evenly.
    """
    return 1 if share >= 1 else share / 2

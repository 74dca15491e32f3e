"""`ftc serve`: run an instance."""

from __future__ import annotations

import click
import structlog
import uvloop

from ftc_core.cli.settings_options import settings_options
from ftc_core.credentials.data_directory import DataDirectory
from ftc_core.endpoint.supervisor import Supervisor
from ftc_core.errors import FtcError
from ftc_core.observability.logging import configure_logging
from ftc_core.settings import Settings

__all__ = ["register"]

_log = structlog.get_logger(__name__)


@click.command()
@settings_options(
    "data_dir",
    "bootstrap_listen",
    "lwm2m_listen",
    "grpc_listen",
    "metrics_listen",
    "public_host",
    "workers",
    "log_format",
    "log_level",
    "lwm2m_credentials",
    "dtls_mtu",
    "resumption_lifetime_s",
    "overload_answer",
    "shutdown_grace_s",
)
def serve(settings: Settings) -> None:
    """Serve bootstrap, LwM2M registration and the gRPC API until SIGTERM.

    Needs the data directory that `ftc init` makes. Once it serves, `endpoints.json` there says where.

    \b
    Examples:
      ftc serve
      ftc serve --data-dir /var/lib/ftc --public-host onboarding.example --log-format json
    """
    configure_logging(log_format=settings.log_format, level=settings.log_level, process="supervisor")
    directory = DataDirectory.open(settings.data_dir)
    with directory.lock():
        try:
            uvloop.run(Supervisor(settings, directory).run())
        except (FtcError, OSError):
            raise
        except Exception as error:
            _log.error("supervisor failed", exc_info=error)  # the command line tells a bug in one line
            raise


def register(root: click.Group) -> None:
    """Add the command to `ftc`."""
    root.add_command(serve)

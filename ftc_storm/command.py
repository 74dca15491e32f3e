"""`ftc storm` (entry point group `ftc.commands`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftc_core.cli.group import Refusal
from ftc_core.cli.terminal import say

if TYPE_CHECKING:
    from ftc_storm.report import Report

__all__ = ["register"]

_PERCENT = click.FloatRange(0, 100)
_POSITIVE = click.FloatRange(0, min_open=True)
_NOT_NEGATIVE = click.FloatRange(0)
_ADVERSITIES = (
    *("again", "unknown", "wrong_ca", "blocked", "deaths", "rebindings"),
    *("loss", "duplicates", "reordering", "delay", "jitter"),
)
"""Options that `--calm` sets to 0."""
_CURVES = ("at-once", "even", "poisson", "ramp", "azure")


@click.command()
@click.option("--devices", type=click.IntRange(1, 1_000_000), default=2_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Decides everything that is chance.")
@click.option("--curve", type=click.Choice(_CURVES), default="at-once", show_default=True, help="Arrivals.")
@click.option("--rate", type=_POSITIVE, default=100.0, show_default=True, help="Mean arrivals per second.")
@click.option("--load", type=_POSITIVE, default=1.0, show_default=True, help="Azure's factor.")
@click.option("--calm", is_flag=True, help="New devices alone, none dies, and their network is perfect.")
@click.option("--again", type=_PERCENT, default=10.0, show_default=True, help="% that were claimed before.")
@click.option("--unknown", type=_PERCENT, default=2.0, show_default=True, help="% on nobody's list.")
@click.option("--wrong-ca", type=_PERCENT, default=2.0, show_default=True, help="% of a CA not uploaded.")
@click.option("--blocked", type=_PERCENT, default=1.0, show_default=True, help="% that are blocked.")
@click.option("--loss", type=_PERCENT, default=2.0, show_default=True, help="% of datagrams, each way.")
@click.option("--duplicates", type=_PERCENT, default=1.0, show_default=True, help="% of datagrams.")
@click.option("--reordering", type=_PERCENT, default=1.0, show_default=True, help="% held back 50 ms.")
@click.option("--delay", type=_NOT_NEGATIVE, default=20.0, show_default=True, help="One way, ms.")
@click.option("--jitter", type=_NOT_NEGATIVE, default=10.0, show_default=True, help="On top, up to, ms.")
@click.option("--deaths", type=_PERCENT, default=1.0, show_default=True, help="% that lose power midway.")
@click.option(
    "--rebindings", type=_PERCENT, default=0.0, show_default=True, help="% whose NAT changes their address."
)
@click.option("--patience", type=_POSITIVE, default=120.0, show_default=True, help="Seconds per attempt.")
@click.option("--backoff", type=_POSITIVE, default=10.0, show_default=True, help="The first, seconds.")
@click.option("--limit", type=_POSITIVE, default=150.0, show_default=True, help="Seconds for the storm.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Of bootstrap.")
@click.option("--kill-at", type=_PERCENT, help="Kill a worker once so many % are bootstrapped.")
@click.option("--active", type=click.IntRange(1), help="Most associations; default: by free memory.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("storm-report"),
    show_default=True,
    help="Directory of report.json and report.html.",
)
@click.option("--picture", type=click.Path(path_type=Path), help="Draw one picture, .svg or .png.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path.home() / ".cache" / "ftc" / "storm",
    help="Where device certificates are kept.  [default: ~/.cache/ftc/storm]",
)
def storm(out: Path, picture: Path | None, cache: Path, curve: str, **options: float) -> None:
    """Power a whole fleet on against an instance of its own, and report how it went.

    Real DTLS and CoAP over loopback; each device goes through bootstrap and registration, retries as a device
    in the field does, and meets the weather that the options say. Exit code 0 only if every device that
    should be was onboarded, none twice, nobody else was let in, and `ftc check` finds the instance's data
    whole. Needs Linux.

    \b
    Examples:
      ftc storm
      ftc storm --calm --devices 20000 --curve poisson --rate 300
      ftc storm --devices 500 --loss 20 --duplicates 5 --kill-at 50
    """
    if sys.platform != "linux":
        raise Refusal("ftc storm needs Linux: its devices live in 127.0.0.0/8", "Run it on Linux.")
    report = _run(curve, options, cache)
    _write(report, out, picture)
    if not report.audit.passed:
        for fault in report.audit.faults:
            say(fault, err=True)
        what = "left faults in the data" if report.audit.not_whole else "left devices behind"
        raise Refusal(f"the storm {what}", f"Read {out / 'report.html'}, and docs/storm.md.")


def _run(curve: str, options: dict[str, float], cache: Path) -> Report:
    # Here, not above: every `ftc` command of an extension loads this module.
    from ftc_storm.arrivals import Curve
    from ftc_storm.plan import DeviceKind, StormPlan
    from ftc_storm.progress import ProgressView
    from ftc_storm.run import Surroundings, run_storm
    from ftc_storm.weather import Weather

    if options["calm"]:
        options = {**options, **dict.fromkeys(_ADVERSITIES, 0.0)}
    try:
        plan = StormPlan(
            devices=int(options["devices"]),
            seed=int(options["seed"]),
            curve=Curve(curve),
            rate_per_s=options["rate"],
            load=options["load"],
            mixture={
                DeviceKind.AGAIN: options["again"] / 100,
                DeviceKind.UNKNOWN: options["unknown"] / 100,
                DeviceKind.WRONG_CA: options["wrong_ca"] / 100,
                DeviceKind.BLOCKED: options["blocked"] / 100,
            },
            weather=Weather(
                loss=options["loss"] / 100,
                duplication=options["duplicates"] / 100,
                reordering=options["reordering"] / 100,
                delay_s=options["delay"] / 1_000,
                jitter_s=options["jitter"] / 1_000,
            ),
            deaths=options["deaths"] / 100,
            rebindings=options["rebindings"] / 100,
            patience_s=options["patience"],
            backoff_first_s=options["backoff"],
            limit_s=options["limit"],
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    surroundings = Surroundings(
        cache=cache,
        workers=int(options["workers"]),
        kill_at=None if options["kill_at"] is None else options["kill_at"] / 100,
        active_max=None if options["active"] is None else int(options["active"]),
    )
    with ProgressView(plan.devices) as view:
        return run_storm(plan, surroundings, say=view.say, look=view.look)


def _write(report: Report, out: Path, picture: Path | None) -> None:
    import msgspec
    from rich.console import Console

    from ftc_storm.page import render_page
    from ftc_storm.tables import report_table

    Console().print(report_table(report))
    try:
        from ftc_storm import plots
    except ModuleNotFoundError:
        say("no plots: they need matplotlib (pip install -r benchmarks/requirements.txt)", err=True)
        drawn: dict[str, str] = {}
    else:
        drawn = plots.draw_plots(report)
        if picture is not None:
            plots.draw_picture(report, picture)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    (out / "report.html").write_text(render_page(report, drawn))
    say(f"written: {out / 'report.html'}, {out / 'report.json'}")


def register(root: click.Group) -> None:
    """Add the verb."""
    root.add_command(storm)

"""`python -m cluster up|down|status|env`: the cluster of tests and demo, by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from cluster.choice import KINDS, NotPossible, choose, existing, make_cluster
from cluster.components import components
from cluster.preflight import DoesNotFit, cluster_needs, ensure_fits
from cluster.processes import StartFailed
from cluster.steps import Steps
from cluster.toolchain import ToolMissing


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@click.option(
    "--kind", default="auto", type=click.Choice(["auto", *KINDS]), help="auto: the best one possible"
)
@click.option(
    "--host-path", "host_paths", multiple=True, metavar="PATH=FOLDER", help="a folder that pods may mount"
)
@click.option("--capacity", multiple=True, metavar="RESOURCE=AMOUNT", help="what the lab's node offers")
def up(kind: str, host_paths: tuple[str, ...], capacity: tuple[str, ...]) -> None:
    """Bring a cluster up, unless it is."""
    steps = Steps()
    try:
        choice = choose(kind)
        steps.say(f"cluster: {choice.kind} ({choice.why})")
        cluster = make_cluster(
            choice,
            steps,
            host_paths={path: Path(folder) for path, folder in _pairs(host_paths).items()},
            capacity=_pairs(capacity),
        )
        if not cluster.ready():
            ensure_fits(cluster_needs(choice.kind), steps)
        cluster.up()
        components(["kubectl"], steps)
    except (NotPossible, DoesNotFit, ToolMissing, StartFailed, RuntimeError) as reason:
        raise click.ClickException(str(reason)) from reason
    click.echo(f"export KUBECONFIG={cluster.kubeconfig}")


@main.command()
@click.option("--kind", type=click.Choice(KINDS), help="only this one; without it, every one that is up")
def down(kind: str | None) -> None:
    """Remove the clusters that were brought up, with every trace."""
    for cluster in existing(Steps()):
        if kind in (None, cluster.kind):
            cluster.down()


@main.command()
def status() -> None:
    """Which clusters there are. Exit code 1 when one is not ready, or none is there."""
    clusters = existing(Steps())
    ready = [cluster.ready() for cluster in clusters]
    for cluster, is_ready in zip(clusters, ready, strict=True):
        click.echo(f"{cluster.kind}: {'ready' if is_ready else 'not ready'}, kubeconfig {cluster.kubeconfig}")
    sys.exit(0 if ready and all(ready) else 1)


@main.command()
def env() -> None:
    """Print what a shell needs to use the cluster: eval "$(python -m cluster env)"."""
    steps = Steps()
    clusters = existing(steps)
    if not clusters:
        raise click.ClickException("no cluster is up")
    kubectl = components(["kubectl"], steps)["kubectl"]
    click.echo(f"export KUBECONFIG={clusters[0].kubeconfig}\nexport PATH={kubectl.parent}:$PATH")


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    split = [option.partition("=") for option in options]
    bad = [name for name, equals, _ in split if not equals]
    if bad:
        raise click.UsageError(f"{bad[0]!r} is not NAME=VALUE")
    return {name: value for name, _, value in split}


if __name__ == "__main__":
    main()

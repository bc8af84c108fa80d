"""Commands that keep results and assemble their page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Collect finished runs and assemble the page of results from them.", no_args_is_help=True
)


@app.command()
def collect(
    workspace: Annotated[Path, typer.Argument(help="workspace whose runs are finished", show_default=False)],
    runs: Annotated[Path, typer.Argument(help="folder of run files", show_default=False)],
    params: Annotated[Path, typer.Option("--params", help="params file that the workspace was made from")],
) -> None:
    """Keep the predictions of a workspace's finished runs.

    Example: sarcurate results collect workspaces/table1 docs/results/runs --params params/table1.yaml
    """
    from sarcurate import results

    typer.echo(f"{len(results.collect(workspace, params, runs))} run files in {runs / workspace.name}")


@app.command()
def adapter(
    workspace: Annotated[Path, typer.Argument(help="workspace whose tune has finished", show_default=False)],
    params: Annotated[Path, typer.Option("--params", help="params file that the workspace was made from")],
    folder: Annotated[Path, typer.Option(help="folder of kept numbers")] = Path("docs/results/adapters"),
    per_class: Annotated[int, typer.Option(min=2, help="chips drawn of each class")] = 30,
) -> None:
    """Draw chips with a workspace's adapter and with its base alone, and hold both against real test chips.

    Example: sarcurate results adapter workspaces/table1 --params params/table1.yaml
    """
    from sarcurate.adapter_results import collect_adapter

    typer.echo(f"wrote {collect_adapter(workspace, params, folder, per_class)}")


@app.command()
def table(
    runs: Annotated[Path, typer.Argument(help="folder of run files", show_default=False)],
    params: Annotated[Path, typer.Argument(help="folder of params files", show_default=False)],
    page: Annotated[Path, typer.Argument(help="page to write", show_default=False)],
    workspaces: Annotated[
        Path | None,
        typer.Option(help="also recompute cache keys from the chips of the workspaces found here"),
    ] = None,
) -> None:
    """Assemble the page of arms tables; refuses run files whose code, params or chips are not today's.

    Example: sarcurate results table docs/results/runs params docs/results.md
    """
    from sarcurate import results

    text = results.assemble(runs, params, workspaces)
    page.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {page}")

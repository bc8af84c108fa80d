"""Workspaces: a folder with git, DVC, the pipeline and its params."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from sarcurate import __version__
from sarcurate.errors import ParamsError
from sarcurate.io import lineage
from sarcurate.io.safe import sha256_file
from sarcurate.io.verdicts import HEADER
from sarcurate.models import base, extractor
from sarcurate.params import FolderSource, Params, ProductsSource, check_params, read_yaml

IN_DEPS = "deps"  # code.source_sha256 of the repository, whose dvc.yaml lists the modules instead
ASSETS_OF = {
    "sarcurate/io/sensors.py": "sarcurate/assets/sensors",
    "sarcurate/io/public_sets.py": "sarcurate/assets/sets",
    "sarcurate/io/report_html.py": "sarcurate/assets/report.html.j2",
    "sarcurate/io/expectations.py": "sarcurate/assets/expectations",
    "sarcurate/io/hub/card.py": "sarcurate/assets/dataset_card.md.j2",
    "sarcurate/io/validation_report.py": "sarcurate/assets/validation.html.j2",
    "sarcurate/models/base.py": "sarcurate/assets/sarcurate-tiny",
    "sarcurate/models/extractor.py": "sarcurate/assets/sarcurate-tiny-unet",
}
HEAD = "# Written by `sarcurate init --refresh` from the packaged pipeline; edit params.yaml, then refresh.\n"


def package_sha256() -> str:
    """Hash of every module of the package, comments and docstrings aside, and of its assets."""
    root = _package() / "assets"
    assets = [
        [path.relative_to(root).as_posix(), sha256_file(path)]
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]
    return lineage.sha256_text(lineage.canonical_json([lineage.code_sha256("sarcurate.cli"), assets]))


def _package() -> Path:
    return Path(str(resources.files("sarcurate")))


def is_repository(folder: Path) -> bool:
    """True where the folder holds the sources of the package that is running."""
    return _package().resolve() == (folder / "sarcurate").resolve()


def check_code(params: Params) -> None:
    """Refuse to run a workspace with another package than it was made for.

    Raises:
        ParamsError: for another version or other sources.
    """
    code = params.code
    if code.version != __version__ or code.source_sha256 not in (IN_DEPS, package_sha256()):
        raise ParamsError(
            f"this workspace was made for sarcurate {code.version} ({code.source_sha256[:12]}), "
            f"this is {__version__} ({package_sha256()[:12]})",
            fix="run `sarcurate init . --refresh`, then `dvc repro`",
        )


def init(folder: Path, params_file: Path | None, settings: dict[str, Any], refresh: bool) -> None:
    """Make a workspace, or with ``refresh`` bring one up to this package and its params.

    Args:
        params_file: params to start from; None keeps those of the workspace.
        settings: values to replace, by dotted path (``split.target.train_per_class``).

    Raises:
        ParamsError: when the folder is a workspace already (or not yet), or the params are wrong.
    """
    own = folder / "params.yaml"
    if own.exists() and not refresh:
        raise ParamsError(f"{folder} is a workspace already", fix="add --refresh, or name another folder")
    start = params_file or own
    read_yaml(start)
    data = _round_trip().load(start)
    for path, value in settings.items():
        replace_value(data, path, value)
    in_repository = is_repository(folder)
    replace_value(data, "code.version", __version__)
    replace_value(data, "code.source_sha256", IN_DEPS if in_repository else package_sha256())
    params = check_params(data, start)
    if not in_repository:
        _check_tools()
    folder.mkdir(parents=True, exist_ok=True)
    if not in_repository:
        _begin_version_control(folder)
    with own.open("w", encoding="utf-8") as file:
        _round_trip().dump(data, file)
    (folder / "dvc.yaml").write_text(pipeline_text(params, in_repository), encoding="utf-8")
    _begin_verdicts(folder / "data" / "verdicts.csv")


def pipeline_text(params: Params, in_repository: bool) -> str:
    """The text of dvc.yaml: the packaged pipeline, external inputs, and in the repository the modules."""
    from io import StringIO

    yaml = _round_trip()
    pipeline = yaml.load(_asset("pipeline.yaml"))
    for name, stage in pipeline["stages"].items():
        extra = external_inputs(params).get(name, [])
        if in_repository:
            extra = extra + module_deps(name)
        for dep in extra:
            stage["deps"].append(dep) if "deps" in stage else _insert_deps(stage, dep)
    text = StringIO()
    yaml.dump(pipeline, text)
    return HEAD + text.getvalue()


def _insert_deps(stage: CommentedMap, dep: str) -> None:
    stage.insert(list(stage).index("params"), "deps", [dep])


def external_inputs(params: Params) -> dict[str, list[str]]:
    """Paths outside the workspace that each stage reads, so that DVC notices when they change."""
    sources = (params.acquire.source, params.acquire.target)
    folders = [path for s in sources if isinstance(s, FolderSource) for path in (s.path, s.manifest) if path]
    products = [path for s in sources if isinstance(s, ProductsSource) for path in (s.path, s.boxes)]
    acquire = folders + products
    profiles = [
        s.profile
        for s in (params.dataset.source, params.dataset.target)
        if s.profile.endswith((".yaml", ".yml"))
    ]
    tests = [test.path for test in params.evaluate.external_tests]
    weights = [] if params.evaluate.initial_weights is None else [params.evaluate.initial_weights]
    tune, migrate = params.tune, params.migrate
    weights_of_base = [tune.base] if is_folder(tune.base, tune.base_revision) else []
    unet = [migrate.extractor] if is_folder(migrate.extractor, migrate.extractor_revision) else []
    found = {
        "acquire": acquire + profiles,
        "ingest": profiles,
        "validate": params.validate.expectations,
        "reference": profiles,
        "tune": weights_of_base + profiles,
        "generate": weights_of_base + profiles,
        "migrate": unet + profiles,
        "translate": profiles,
        "score": profiles,
        "evaluate": profiles + tests + weights,
    }
    return {stage: list(dict.fromkeys(paths)) for stage, paths in found.items()}


def is_folder(where: str, revision: str | None) -> bool:
    """Whether a model is a folder: neither a bundled one nor a hub id pinned by its commit."""
    return where not in (base.BUNDLED, extractor.BUNDLED) and revision is None


def module_deps(stage: str) -> list[str]:
    """Package files that a stage depends on, relative to the repository: modules and their assets."""
    package = _package()
    files = lineage.module_closure(f"sarcurate.stages.{stage}")
    names = [path.relative_to(package.parent).as_posix() for path in files]
    return names + [asset for module, asset in ASSETS_OF.items() if module in names]


def replace_value(data: Any, path: str, value: Any) -> None:
    """Replace one existing value of plain params data, by its dotted path.

    Raises:
        ParamsError: where there is no such value.
    """
    *parents, last = path.split(".")
    for key in parents:
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, dict) or last not in data:
        raise ParamsError(
            f"{path}: there is no such value in the params file", fix="give an existing dotted path"
        )
    data[last] = value


def _check_tools() -> None:
    if shutil.which("git") is None:
        raise ParamsError("git is not on PATH, and a workspace is a git repository", fix="install git")
    if find_spec("dvc") is None:
        raise ParamsError(
            "DVC is not installed beside sarcurate", fix="pip install 'sarcurate[dvc]', or `make env`"
        )


def _begin_version_control(folder: Path) -> None:
    _ignore_outputs(folder / ".gitignore")
    # The DVC of this interpreter, so that its folder need not be on PATH.
    dvc = [sys.executable, "-m", "dvc"]
    if not (folder / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    if not (folder / ".dvc").exists():
        subprocess.run([*dvc, "init", "-q"], cwd=folder, check=True)
    subprocess.run([*dvc, "config", "core.analytics", "false"], cwd=folder, check=True)


def _begin_verdicts(path: Path) -> None:
    """A file of verdicts without any, where there is none yet."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER + "\n", encoding="utf-8")


def _ignore_outputs(path: Path) -> None:
    """Add what the pipeline writes to .gitignore; lines of the user and of `dvc add` stay."""
    kept = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = kept + [line for line in _asset("gitignore").splitlines() if line not in kept]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _asset(name: str) -> str:
    return resources.files("sarcurate").joinpath("assets", "workspace", name).read_text(encoding="utf-8")


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.width = 110
    yaml.indent(mapping=2, sequence=2, offset=0)
    return yaml

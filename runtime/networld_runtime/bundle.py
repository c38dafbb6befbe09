"""A bundle on disk: manifest, graphs, digests. Nothing is used before its digest was checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from networld_runtime.contract import Contract
from networld_runtime.errors import BundleError
from networld_runtime.execution import ONE_THREAD, Execution
from networld_runtime.golden import Golden, check_golden
from networld_runtime.levels import LEVEL_FEATURES
from networld_runtime.sessions import Session, Shape

FORMAT = 8
MANIFEST = "manifest.json"
GRAPHS = ("encoder", "denoiser", "head", "policy", "gradient")
"""Graphs that every bundle holds."""
FUSED_STEPS = (1, 2, 4)
"""Steps for which a whole plan by the distilled denoiser is one graph."""
INT8 = "_int8"
"""How the names of graphs end whose weights are int8; they take and give what their originals do."""
FP16 = "_fp16"
"""The same for graphs that compute with two bytes, for GPUs."""
QUANTISED_GRAPHS = ("distilled", *(f"plan_{steps}" for steps in FUSED_STEPS))
"""Graphs that a bundle with a distilled denoiser holds as well, in float32 and in int8."""
DISTILLED_GRAPHS = (*QUANTISED_GRAPHS, *(f"{graph}{INT8}" for graph in QUANTISED_GRAPHS))
HALF_GRAPHS = tuple(f"{graph}{FP16}" for graph in QUANTISED_GRAPHS)
"""Graphs that a bundle may hold besides."""
CANDIDATES = "candidates"
"""Dimension of graphs that take any number of plans."""
NEIGHBOURS = 6
"""Neighbours that the gradient graph judges a cell with; a cell that has fewer fills up with none."""
STAR = NEIGHBOURS + 1
"""A cell and its neighbours."""
ASKED = 1
"""Cells of a star whose alternatives a step of adaptation weighs in a slot, which is most of its work."""
MAXIMUM_MANIFEST_BYTES = 1 << 20
MAXIMUM_GRAPH_BYTES = 256 << 20
MAXIMUM_VERSION = (1 << 53) - 1
"""What every JSON reader can hold exactly."""


@dataclass(frozen=True)
class Work:
    """What a run of a graph takes at least.

    Attributes:
        fixed_operations: Multiplications and additions of its matrix products, whatever it is given.
        plan_operations: The same for each plan that it is given.
        weight_bytes: Bytes of its weights, all of which are read.
    """

    fixed_operations: int
    plan_operations: int
    weight_bytes: int

    def operations(self, plans: int) -> int:
        """Return the operations for a number of plans."""
        return self.fixed_operations + plans * self.plan_operations


@dataclass(frozen=True)
class Score:
    """How good a way to choose an action is, in the task's reference scenario.

    Attributes:
        mode: As in `PlannerSettings`, like the next three.
        denoiser: Which denoiser plans.
        steps: Denoising steps.
        candidates: Plans that one is chosen from.
        value: Interquartile mean of the scores over the episodes.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    mode: str
    denoiser: str
    steps: int
    candidates: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bundle:
    """One task of a bundle, checked.

    Attributes:
        path: The bundle's folder.
        name: Name given at export.
        digest: SHA-256 of the manifest, which holds the digests of all files; hexadecimal.
        contract: What model and messages agree on.
        candidates: Plans that the full denoiser takes (`N`); other graphs take any number.
        adapter_size: Entries of the adapter vector (`P`).
        adaptation_batch: Slots in a batch of the gradient graph (`B`).
        couplings: Numbers that say how strongly one cell acts on another (`Q`).
        planner: Planner settings that the bundle recommends, the mode among them.
        graphs: File of each graph.
        work: What a run of each graph takes.
        scores: How good the ways to choose an action are that somebody judged; may be empty.
        adaptation: Adaptation settings that the bundle recommends for the task.
        execution: Where its graphs run.
        version: Counter of releases, 1 or more; a base station never goes back to a lower one by an update.
        golden: What the graphs must answer; None tests nothing.
    """

    path: Path
    name: str
    digest: str
    contract: Contract
    candidates: int
    adapter_size: int
    adaptation_batch: int
    couplings: int
    planner: Mapping[str, Any]
    graphs: Mapping[str, Path]
    work: Mapping[str, Work] = field(default_factory=dict)
    scores: tuple[Score, ...] = ()
    adaptation: Mapping[str, Any] = field(default_factory=dict)
    execution: Execution = ONE_THREAD
    version: int = 1
    golden: Golden | None = None

    @property
    def has_distilled(self) -> bool:
        """Whether it can plan by the distilled denoiser."""
        return set(DISTILLED_GRAPHS) <= self.graphs.keys()

    def session(self, graph: str) -> Session:
        """Load a graph, check its inputs and outputs and let it answer its golden vectors.

        Raises:
            BundleError: The bundle lacks it, or it does not load, does not fit the contract or answers
                otherwise than where the bundle was made.
            ConfigError: It is to run where it cannot.
        """
        if graph not in self.graphs:
            raise BundleError(
                str(self.path),
                f"no graph {graph!r}: exported without a distilled denoiser, or without `--half`; make one "
                "with `networld distil` and export again, or plan with the full one",
            )
        inputs, outputs = self.signature(graph)
        session = Session(self.graphs[graph], inputs, outputs, self.execution)
        if self.golden is not None:
            check_golden(self.golden, graph, session, list(inputs), list(outputs))
        return session

    def signature(self, graph: str) -> tuple[dict[str, Shape], dict[str, Shape]]:
        """Return names and shapes of a graph's inputs and outputs."""
        return graph_signature(
            graph,
            self.contract,
            self.candidates,
            self.adapter_size,
            self.adaptation_batch,
            self.couplings,
        )


def graph_signature(
    graph: str,
    contract: Contract,
    candidates: int,
    adapter_size: int,
    adaptation_batch: int,
    couplings: int,
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Return names and shapes of a graph's inputs and outputs, as `docs/architecture.md` lists them."""
    size, horizon = contract.latent_size, contract.horizon
    actions, features = contract.action_size, contract.observation_size
    plan: Shape = (candidates, horizon, size)
    plans: Shape = (CANDIDATES, horizon, size)
    scale: dict[str, Shape] = {"in_guidance_scale": (1,)}
    now = {"in_latent": (1, size), "in_mean_field": (1, contract.mean_field_size)}
    adapter = {"in_adapter": (adapter_size,)}
    batch = adaptation_batch
    signatures: dict[str, tuple[dict[str, Shape], dict[str, Shape]]] = {
        "encoder": ({"in_observation": (1, features)}, {"out_latent": (1, size)}),
        "denoiser": (
            {"in_plan": plan, "in_level": (1,), **now, **scale},
            {"out_plan": plan},
        ),
        "head": (
            {"in_plan": plans, **now},
            {"out_return": (CANDIDATES,), "out_action": (CANDIDATES, actions)},
        ),
        "policy": ({**now, **adapter}, {"out_action": (1, actions)}),
        "gradient": (
            {
                "in_observation": (batch, STAR, features),
                "in_before": (batch, STAR, features),
                "in_coupling": (batch, STAR, NEIGHBOURS, couplings),
                "in_around": (STAR, NEIGHBOURS, STAR),
                "in_mask": (batch, STAR, actions),
                "in_uniform": (batch, STAR, actions),
                "in_weight": (batch, STAR),
                "in_asked": (batch, ASKED, STAR),
                **adapter,
            },
            {"out_loss": (1,), "out_worth": (batch,), "out_gradient": (adapter_size,)},
        ),
        "distilled": (
            {"in_plan": plans, "in_level": (1,), **now, **scale},
            {"out_plan": plans},
        ),
    }
    flat: Shape = (CANDIDATES, horizon * size)
    for steps in FUSED_STEPS:
        moves: dict[str, Shape] = {} if steps == 1 else {"in_factors": (3 * (steps - 1),)}
        signatures[f"plan_{steps}"] = (
            {"in_plan": flat, "in_step": (steps, LEVEL_FEATURES + 1), **now, **moves},
            {
                "out_chain": (CANDIDATES, (horizon + 1) * size),
                "out_return": (CANDIDATES, 1),
                "out_actions": (CANDIDATES, horizon * actions),
            },
        )
    return signatures[graph.removesuffix(INT8).removesuffix(FP16)]


def load_bundle(path: Path, task: str, execution: Execution = ONE_THREAD) -> Bundle:
    """Read a bundle's manifest and check every file of one task.

    Args:
        path: The bundle's folder.
        task: Name of the task.
        execution: Where its graphs are to run.

    Raises:
        BundleError: Something is missing, damaged, of another format or contract; lists every problem.
    """
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        raise BundleError(str(path), f"no {MANIFEST} found; name the folder that `export` wrote")
    if manifest_path.stat().st_size > MAXIMUM_MANIFEST_BYTES:
        raise BundleError(str(manifest_path), f"larger than {MAXIMUM_MANIFEST_BYTES} bytes")
    try:
        raw = manifest_path.read_bytes()
        manifest = json.loads(raw)
        version = manifest_version(manifest, path)
        entry = manifest["tasks"].get(task)
        if entry is None:
            known = ", ".join(sorted(manifest["tasks"]))
            raise BundleError(str(path), f"no task {task!r}; this bundle holds: {known}")
        contract = Contract.from_json(entry["contract"])
        if contract.digest().hex() != entry["contract_hash"]:
            raise BundleError(str(manifest_path), "contract does not match its hash; export again")
        graphs = _check_files(path, entry["graphs"], entry["golden"])
        return Bundle(
            path=path,
            name=str(manifest["name"]),
            digest=hashlib.sha256(raw).hexdigest(),
            contract=contract,
            candidates=int(entry["candidates"]),
            adapter_size=int(entry["adapter_size"]),
            adaptation_batch=int(entry["adaptation_batch"]),
            couplings=int(entry["couplings"]),
            planner=dict(entry["planner"]),
            graphs=graphs,
            work={graph: Work(**entry["graphs"][graph]["work"]) for graph in graphs},
            scores=tuple(Score(**score) for score in entry["scores"]),
            adaptation=dict(entry["adaptation"]),
            execution=execution,
            version=version,
            golden=Golden(
                path / str(entry["golden"]["file"]),
                {graph: float(bound) for graph, bound in entry["golden"]["tolerance"].items()},
            ),
        )
    except OSError as error:
        raise BundleError(str(path), f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            str(manifest_path), f"damaged ({type(error).__name__}: {error}); export again"
        ) from error


def manifest_version(manifest: Mapping[str, Any], path: Path) -> int:
    """Check the format of a manifest and return the bundle's version.

    Raises:
        BundleError: Another format, or a version that is none; names `path`.
        KeyError: The manifest lacks one of them.
    """
    found = manifest["format"]
    if found != FORMAT:
        raise BundleError(
            str(path), f"format {found!r}, expected {FORMAT}; export it again with this version"
        )
    version = manifest["version"]
    if type(version) is not int or not 1 <= version <= MAXIMUM_VERSION:
        raise BundleError(
            str(path), f"version = {version!r:.60}: expected a whole number, 1 to {MAXIMUM_VERSION}"
        )
    return version


def _check_files(
    path: Path, entries: Mapping[str, Mapping[str, Any]], golden: Mapping[str, Any]
) -> dict[str, Path]:
    """Return the file of each graph after checking that all files lie inside the bundle and are intact."""
    problems = []
    graphs = {}
    optional = (DISTILLED_GRAPHS, HALF_GRAPHS)
    held = [together for together in optional if any(graph in entries for graph in together)]
    for graph in chain(GRAPHS, *held):
        if graph not in entries:
            problems.append(f"graph {graph!r} is not in the manifest; export again")
            continue
        problem = _file_problem(path, entries[graph])
        if problem is None:
            graphs[graph] = path / str(entries[graph]["file"])
        else:
            problems.append(problem)
    problem = _file_problem(path, golden)
    if problem is not None:
        problems.append(problem)
    if problems:
        raise BundleError(str(path), problems)
    return graphs


def _file_problem(path: Path, entry: Mapping[str, Any]) -> str | None:
    name = str(entry["file"])
    file = path / name
    if not file.resolve().is_relative_to(path.resolve()):
        return f"{name}: lies outside the bundle"
    if not file.is_file():
        return f"{name}: missing; copy the whole folder again"
    if file.stat().st_size > MAXIMUM_GRAPH_BYTES:
        return f"{name}: larger than {MAXIMUM_GRAPH_BYTES} bytes"
    if file_digest(file) != entry["sha256"]:
        return f"{name}: damaged, its SHA-256 differs from the manifest; copy it again"
    return None


def graphs_digest(path: Path) -> str:
    """Return one SHA-256 of all graphs of a bundle, which scores in its manifest do not change; hexadecimal.

    Raises:
        BundleError: The manifest cannot be read.
    """
    try:
        tasks = json.loads((path / MANIFEST).read_text())["tasks"]
        digests = sorted(
            f"{task}/{graph} {entry['sha256']}"
            for task, one in tasks.items()
            for graph, entry in one["graphs"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(str(path / MANIFEST), f"cannot be read ({error})") from error
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()

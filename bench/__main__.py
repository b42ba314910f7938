"""Benchmarks against the usual recipes: ``python -m bench train --images FOLDER``."""

from __future__ import annotations

import tempfile
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import tyro

from dataworth.data.decoding import num_cores

from . import recipes
from .measure import alternate, report, write

Images = Annotated[Path, tyro.conf.arg(help="folder with one folder of JPEG files per class")]
UNITS = {"training": 3, "validation": 6, "evaluation": 6, "loading": 8}  # batches per round


def train(
    images: Images,
    rounds: int = 5,
    size: int = 227,
    batch: int = 128,
    cores: Annotated[
        tuple[int, ...], tyro.conf.arg(help="all workloads on so many cores, then on so many")
    ] = (1, num_cores()),
) -> None:
    """Throughput of training, evaluation and data loading, per CPU-second of all processes."""
    content: dict[str, object] = {"command": "train", "size": size, "batch": batch}
    with tempfile.TemporaryDirectory() as cache:
        for (kind, units), count in product(UNITS.items(), dict.fromkeys(cores)):
            makes = {
                "ours": partial(recipes.ours, kind, images, size, batch, Path(cache)),
                "torchvision recipe": partial(
                    recipes.baseline, kind, "torchvision", images, size, batch
                ),
                "datasets recipe": partial(recipes.baseline, kind, "datasets", images, size, batch),
            }
            makes = {name: partial(recipes.on_cores, count, make) for name, make in makes.items()}
            title = f"{kind}, {count} {'core' if count == 1 else 'cores'}, AlexNet"
            content[f"{kind}, {count} cores"] = report(title, alternate(makes, rounds, units))
    write("train", content)


def cache(images: Images, rounds: int = 5, side: int = 256) -> None:
    """Throughput of decoding into the cache, per CPU-second of one core."""
    makes = {
        "ours": partial(recipes.decode_ours, images, side),
        "Pillow Resize + CenterCrop": partial(recipes.decode_plain, images, side),
    }
    samples = alternate(makes, rounds, units=200)
    write("cache", {"command": "cache", "cache": report("cache build", samples)})


def study(
    device: str = "auto",
    images: Annotated[
        str, tyro.conf.arg(help="synthetic, or a folder with one folder of JPEG files per class")
    ] = ("synthetic"),
    scale: Annotated[
        float, tyro.conf.arg(help="number of images relative to mini-ImageNet's")
    ] = 1.0,
    epochs: int = 90,
    model: str = "alexnet",
    image_size: int = 227,
    baseline: bool = True,
    peer: Annotated[
        bool,
        tyro.conf.arg(help="instead: a study of three sizes, end to end, by both, on --images"),
    ] = False,
    rounds: Annotated[int, tyro.conf.arg(help="of --peer")] = 5,
    batch: Annotated[int, tyro.conf.arg(help="of --peer: images per batch")] = 128,
) -> None:
    """Duration of the default study at mini-ImageNet's size; the plain recipe, extrapolated."""
    if peer:
        from .peer import measure_peer

        if images == "synthetic":
            raise SystemExit("--peer reads JPEG files: give --images FOLDER")
        content = measure_peer(Path(images), rounds, epochs, image_size, batch)
        settings = {"epochs": epochs, "size": image_size, "batch": batch}
        write("peer", {"command": "study --peer", **settings, **content})
        return
    from .study import measure_study

    write("study", measure_study(device, images, scale, epochs, model, image_size, baseline))


def scale(
    study: Annotated[
        tyro.conf.Positional[Path], tyro.conf.arg(help="checkpoints/ID or results/ID")
    ],
    copies: Annotated[
        int, tyro.conf.arg(help="copies of each run, as with more seeds or models")
    ] = 1,
    rounds: Annotated[
        int, tyro.conf.arg(help="repetitions of the measurement; 0: only simulate")
    ] = 1,
) -> None:
    """Duration of a study with 1 to 1,000 workers (simulated) and two processes (measured)."""
    from .scale import measure, run_seconds, simulate

    seconds = run_seconds(study)
    rows = simulate(seconds, copies)
    print(f"SIMULATION: {len(seconds)} measured runs, each {copies} times; seconds, speed-up")
    for row in rows:
        print("  ".join(f"{key} {value:,.4g}" for key, value in row.items()))
    simulated = {"study": study.name, "run_seconds": seconds, "copies": copies, "rows": rows}
    write("scale", {"command": "scale", "simulation": simulated, "measured": measure(rounds)})


def jobs(rounds: int = 5, epochs: int = 6) -> None:
    """Duration of six small runs side by side and one after another; idle, then busy, machine."""
    from .scale import measure_jobs

    write("jobs", {"command": "jobs", "epochs": epochs, **measure_jobs(rounds, epochs)})


def digits(rounds: int = 3) -> None:
    """Duration of train.py and eval.py of the first study, as ``make study`` starts them."""
    from .scale import measure_digits

    write("digits", {"command": "digits", **measure_digits(rounds)})


def forecast() -> None:
    """Accuracy of forecasts on learning curves measured here, next to a straight line."""
    from .forecasts import measure_forecasts

    kinds, distances = measure_forecasts()
    print(f"{kinds.to_string(index=False)}\n\n{distances.to_string(index=False)}")
    tables = {"kinds": kinds.to_dict("records"), "distances": distances.to_dict("records")}
    write("forecast", {"command": "forecast", **tables})


def worth(studies: int = 200, seeds: int = 2, num_test: int = 5000) -> None:
    """Coverage of the 90 % intervals of the worth in images, on simulated studies."""
    from .worth import measure_coverage

    coverage = measure_coverage(studies, seeds, num_test).round(3).tolist()
    print(f"coverage at five sizes: {coverage[:5]}, of forecasts at 2x and 4x: {coverage[5:]}")
    content = {"studies": studies, "seeds": seeds, "num_test": num_test, "coverage_90": coverage}
    write("worth", {"command": "worth", **content})


def grid(simulated: int = 100) -> None:
    """Law of images and training: held-out cells next to one variable; simulated coverage."""
    from .training import measure_coverage, measure_grids

    table = measure_grids()
    print(table.round(3).to_string(index=False))
    columns = ["log_error", "one_variable_log_error", "inside"]
    print(table.groupby("held_out")[columns].mean().round(3).to_string())
    coverage = measure_coverage(simulated).round(3).tolist()
    print(f"coverage on {2 * simulated} simulated grids, of {len(coverage)} choices: {coverage}")
    content = {"cells": table.to_dict("records"), "simulated": 2 * simulated, "coverage": coverage}
    write("grid", {"command": "grid", **content})


def plan(
    rounds: tuple[int, ...] = (1, 3),
    public: Annotated[
        Path | None, tyro.conf.arg(help="folder with curves of LCDB 1.1, lcdb*.csv.gz")
    ] = None,
    sample: Annotated[int, tyro.conf.arg(help="public curves that are drawn")] = 50,
) -> None:
    """Replay of buying images for a target error: failures and cost next to extrapolations."""
    from .purchases import draw, measure_purchases, own_curves, public_curves

    content: dict[str, object] = {"command": "plan", "rounds": rounds}
    sets = {"own": own_curves()}
    if public is not None:
        sets["public"] = draw(public_curves(public), sample)
    for name, curves in sets.items():
        table = measure_purchases(curves, rounds)
        print(f"{name}: {len(curves)} curves\n{table.to_string(index=False)}")
        content[name] = table.to_dict("records")
    write("plan", content)


def duplicates(
    data: Annotated[Path, tyro.conf.arg(help="folder of JPEG files")],
    limit: Annotated[int | None, tyro.conf.arg(help="images that are drawn; default: all")] = None,
    seed: int = 0,
    weights: Annotated[
        Path | None, tyro.conf.arg(help="of a trained run, whose features find pairs, too")
    ] = None,
) -> None:
    """Recall and precision of the search for near duplicates on planted copies, and its time."""
    from .duplicates import measure_duplicates

    scores = measure_duplicates(data, limit, seed, weights)
    print("\n".join(f"{name}: {value}" for name, value in scores.items()))
    write("duplicates", {"command": "duplicates", "seed": seed, **scores})


def collect(
    data: Annotated[Path, tyro.conf.arg(help="folders train, validation and test of classes")],
    classes: Annotated[int, tyro.conf.arg(help="classes of a draw")] = 20,
    draws: Annotated[int, tyro.conf.arg(help="uneven draws of the training images")] = 5,
    image_size: int = 32,
    seed: int = 1,
) -> None:
    """Advice on which class to collect, replayed by training, against random classes and all."""
    from .collect import measure_collect

    content = measure_collect(data, classes, draws, image_size, seed)
    print("\n".join(f"{name}: {value}" for name, value in content.items() if name != "draws"))
    settings = {"classes": classes, "image_size": image_size, "seed": seed}
    write("collect", {"command": "collect", **settings, **content})


if __name__ == "__main__":
    commands = {
        "train": train, "cache": cache, "study": study, "scale": scale, "jobs": jobs,
        "digits": digits, "forecast": forecast, "worth": worth, "grid": grid, "plan": plan,
        "duplicates": duplicates, "collect": collect,
    }  # fmt: skip
    tyro.extras.subcommand_cli_from_dict(commands, prog="python -m bench")

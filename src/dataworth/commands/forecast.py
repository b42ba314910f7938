"""``dataworth forecast``: fit the scaling law to measured errors and forecast, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..console import printable, say
from ..errors import InputError
from ..evaluation.results import FILE as METRICS_FILE
from ..evaluation.results import read_results
from ..findings import sentences
from ..findings import worth as findings_worth
from ..findings.classes import FILE as PER_CLASS_FILE
from ..findings.classes import ClassGains, class_gains, describe_gains, read_class_errors
from ..findings.classes import numbers as class_numbers
from ..findings.costs import Prices, priced
from ..findings.curves import METRICS, metric_name
from ..findings.orders import OrderAdvice, Terms, advise_order, describe_order
from ..findings.training import TrainingFindings, describe_training, training_findings
from ..findings.worth import OptionsWorth, describe_worth, numbers
from ..forecaster.runs import MAX_SIZE
from ..scaling.analysis import Analysis, to_dict
from ..scaling.experiment_design import (
    ASSUMED_SEED_DEVIATION,
    CandidateRun,
    rank_next_runs,
    simulate_design,
)
from ..scaling.fitting import MIN_SIZES
from ..scaling.forecasting import RELIABLE_FACTOR
from ..scaling.training_forecasts import to_dict as training_to_dict
from ..scaling.worth import compare
from ..storage.files import write_json
from .exit_codes import DONE, run_command
from .flags import ForecastFlags
from .forecast_flags import check_forecast_flags
from .measured_points import (
    analyse_file,
    analyse_variant,
    is_study,
    metric_of,
    points_file,
    require_sizes,
)
from .parsing import parse

MAX_RUNS = 10_000  # of each simulated study: more take minutes
WIDTH = 96  # characters of a printed line of the worth of options


@dataclass(frozen=True)
class Answers:
    """What is printed, and written by ``--json``; None where a flag does not ask for it."""

    analysis: Analysis
    name: str  # of the error
    worth: OptionsWorth | None
    training: TrainingFindings | None
    advice: OrderAdvice | None
    gains: ClassGains | None
    next_runs: Sequence[CandidateRun] | None


def forecast(words: Sequence[str] | None = None) -> None:
    """Fit the scaling law to measured errors and forecast."""
    run_command(lambda: _forecast(words), "no file was changed")


def _forecast(words: Sequence[str] | None) -> int:
    flags = parse(ForecastFlags, words, ForecastFlags())
    check_forecast_flags(flags)
    if flags.simulate:
        say(_simulated_design(flags))
        return DONE
    file = points_file(flags.points)
    flags = flags.replace(points=file)
    if flags.by_class and not flags.order:
        classes = _class_gains(flags, flags.buy)
        say(printable(describe_gains(classes)))
        if flags.json_file is not None:
            _write_numbers(flags.json_file, class_numbers(classes))
        return DONE
    answers = _answers(file, flags)
    say(_text(answers, flags))
    if flags.json_file is not None:
        _write_numbers(flags.json_file, _numbers(answers, flags))
    if flags.plot is not None:
        from ..figures.files import save
        from ..figures.scaling import plot_points
        from ..figures.style import new_axes

        save(plot_points(new_axes(), answers.analysis, answers.name), flags.plot)
        say(f"figure   {flags.plot}")
    return DONE


def _answers(file: Path, flags: ForecastFlags) -> Answers:
    analysis, name = analyse_file(file, flags)
    require_sizes(file, analysis.points)
    has_law = analysis.posterior is not None
    worth = _worth(analysis, name, flags) if has_law and flags.compare is not None else None
    advice = advise_order(analysis, _terms(flags)) if flags.order else None
    gains = None
    if flags.by_class and advice is not None and advice.plan.order:
        gains = _class_gains(flags, flags.buy or int(advice.plan.order))
    return Answers(
        analysis=analysis,
        name=name,
        worth=worth,
        training=_training(name, flags) if flags.joined else None,
        advice=advice,
        gains=gains,
        next_runs=rank_next_runs(analysis, flags.target) if has_law and flags.plan else None,
    )


def _text(answers: Answers, flags: ForecastFlags) -> str:
    """Return everything that is printed, as paragraphs."""
    analysis = answers.analysis
    paragraphs = [sentences.law(analysis, answers.name)]
    if flags.target is not None:
        paragraphs.append(sentences.target(analysis, flags.target))
    if analysis.posterior is None:
        if flags.plan or flags.order or flags.compare is not None:
            paragraphs.append("--plan, --order, --compare: no answer without a law.")
        return "\n\n".join(["\n".join(paragraphs), *_further(answers)])
    paragraphs.append(sentences.outlook(analysis, answers.name, flags.at))
    is_table = flags.points is not None and not is_study(flags.points)
    if is_table and flags.start is None and analysis.start == "unknown":
        paragraphs += sentences.if_start_were_told(analysis)
    if flags.order:
        paragraphs.append(describe_order(analysis, _terms(flags), answers.advice))
    if answers.next_runs is not None:
        quantity = f"the forecast at {RELIABLE_FACTOR:.0f}x the largest size"
        if flags.target is not None:
            quantity = f"the number of images for {sentences.percent(flags.target)}"
        if analysis.points.num_runs.max() == 1:
            deviation = f"{100 * ASSUMED_SEED_DEVIATION:.0f} %"
            quantity += f" (if seeds differ by {deviation} of the error)"
        paragraphs.append(sentences.next_runs(answers.next_runs, quantity))
    if answers.worth is not None:
        paragraphs.append(describe_worth(answers.worth, WIDTH))
    return "\n\n".join([*paragraphs, *_further(answers)])


def _further(answers: Answers) -> list[str]:
    """Return the paragraphs that need no law of the curve."""
    paragraphs = []
    if answers.training is not None:
        paragraphs.append(describe_training(answers.training, WIDTH))
    if answers.gains is not None:
        paragraphs.append(printable(describe_gains(answers.gains)))
    return paragraphs


def _class_gains(flags: ForecastFlags, budget: int) -> ClassGains:
    """Return which class gains most from more images, and the allocation of a budget."""
    file = flags.points
    assert file is not None, "the caller checks"
    if file.name == METRICS_FILE:
        file = file.parent / (flags.variant or "") / PER_CLASS_FILE
    if not file.is_file():
        raise InputError(f"--by-class: no {file}; eval.py --full writes it")
    return class_gains(*read_class_errors(file), budget)


def _numbers(answers: Answers, flags: ForecastFlags) -> dict[str, object]:
    """Return the content of the file of ``--json``."""
    targets = () if flags.target is None else (flags.target,)
    content: dict[str, object] = {**to_dict(answers.analysis, flags.at, targets)}
    if answers.advice is not None:
        content |= answers.advice.numbers()
    if answers.next_runs is not None:
        content["next_runs"] = [asdict(run) for run in answers.next_runs]
    if answers.worth is not None:
        content["worth"] = numbers(answers.worth).to_dict("records")
    if answers.training is not None:
        content["training"] = training_to_dict(answers.training.analysis)
    if answers.gains is not None:
        content |= class_numbers(answers.gains)
    return content


def _write_numbers(path: Path, content: Mapping[str, object]) -> None:
    write_json(path, content)
    say(f"numbers  {path}")


def _terms(flags: ForecastFlags) -> Terms:
    """Return the terms of the order."""
    assert flags.target is not None, "the caller checks"
    price = flags.price_image + flags.price_label
    return Terms(flags.target, flags.rounds, price, flags.miss_cost, flags.miss_chance)


def _worth(analysis: Analysis, name: str, flags: ForecastFlags) -> OptionsWorth:
    """Compare the points of ``--compare``, each variant of a study, with those of the baseline."""
    path, points = flags.compare, flags.points
    assert path is not None, "the caller checks"
    assert points is not None, "as above"
    results = read_results(path) if is_study(path) else None
    same = path.resolve() == points.resolve()
    baseline, is_table = points.name, not is_study(points)
    if not is_table:
        study = results if same and results is not None else read_results(points)
        baseline = flags.variant or study.experiment_id
    if results is None:  # a table has a single error
        terms = {} if is_table else {"chance": analysis.chance, "start": analysis.start}
        option, own_error = analyse_file(path, flags.replace(metric=None, variant=None, **terms))
        notes = findings_worth.same_error((baseline, name), (path.name, own_error))
        notes += [] if is_table else _note_terms(path.name, option, baseline, flags)
        notes.append(findings_worth.INDEPENDENT)
        worth = OptionsWorth(baseline, name, {path.name: compare(analysis, option)}, notes)
        return _with_costs(worth, {baseline: analysis, path.name: option}, flags)
    metric = metric_of(name)
    notes = findings_worth.same_error((baseline, name), (path.name, metric_name(metric)))
    notes += _note_terms(baseline, analysis, results.experiment_id, flags) if is_table else []
    variants, comparisons, analyses = results.variants(), {}, {baseline: analysis}
    for variant in variants:
        if same and len(variants) > 1 and variant == flags.variant:
            continue
        option, name = analyse_variant(path, variants, metric, variant, flags)
        shared = findings_worth.shared_test(results, metric, baseline, variant) if same else None
        title = variant if len(variants) > 1 else results.experiment_id
        comparisons[title] = compare(analysis, option, shared)
        analyses[title] = option
    notes += [] if same and results.answer_correlations else [findings_worth.INDEPENDENT]
    worth = OptionsWorth(baseline, name, comparisons, notes)
    return _with_costs(worth, analyses, flags)


def _note_terms(table: str, analysis: Analysis, study: str, flags: ForecastFlags) -> list[str]:
    """Note what a table takes over from the study that it is compared with."""
    terms = [] if flags.chance else [f"chance level {sentences.percent(analysis.chance)}"]
    terms += [] if flags.start or analysis.start == "unknown" else [f"start {analysis.start}"]
    if not terms:
        return []
    same = f"{table} is fitted with {' and '.join(terms)}, as {study} is"
    return [f"{same}, unless --chance or --start says otherwise."]


def _training(name: str, flags: ForecastFlags) -> TrainingFindings | None:
    """Read the studies of ``--with`` together with the first: images and training."""
    assert flags.points is not None, "the caller checks"
    paths = (flags.points, *flags.joined)
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError("--with: a file is named twice")
    for path in paths:
        if not path.exists():
            raise InputError(f"--with: no file {path}")
        if not is_study(path):
            raise InputError(f"--with: {path} is no metrics.json, which says how long it trained")
    metric = {metric_name(metric): metric for metric in METRICS}.get(name)
    studies = {str(path): read_results(path) for path in paths}
    return training_findings(studies, metric)


def _with_costs(
    worth: OptionsWorth, analyses: Mapping[str, Analysis], flags: ForecastFlags
) -> OptionsWorth:
    """Add costs if there are prices of images or labels; hours of training are not known here."""
    prices = Prices(flags.price_image, flags.price_label)
    return priced(worth, prices, analyses, flags.target) if prices.image + prices.label else worth


def _simulated_design(flags: ForecastFlags) -> str:
    sizes = sorted(set(flags.simulate))
    if len(sizes) < MIN_SIZES or not all(0 < n < MAX_SIZE for n in sizes):
        raise InputError("--simulate: give three or more different sizes above 0, below 1e18")
    if (num_runs := len(sizes) * flags.seeds) > MAX_RUNS:
        raise InputError(
            f"--simulate: {len(sizes)} sizes times --seeds {flags.seeds:,} are {num_runs:,} runs; "
            f"at most {MAX_RUNS:,}"
        )
    chance = flags.chance or 1.0
    if flags.expect >= chance:
        raise InputError(f"--expect {flags.expect}: not below the error of guessing, {chance}")
    design = simulate_design(sizes, flags.seeds, flags.num_test, chance, flags.expect)
    return sentences.simulated(design, sizes, flags.seeds, flags.num_test)

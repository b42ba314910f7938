"""Data-scaling studies of image classifiers.

A data-scaling study trains the same image classifier, from fresh weights, on nested stratified
subsets of geometric size (100 %, 50 %, 25 %, 12.5 %, 6.25 % of the training set), measures top-1
and top-5 error of each on one held-out test set, fits the scaling law, and forecasts what more data
would buy.

Map of the package; a module imports from its own folder and from folders of a lower level only
(tests/test_architecture.py has the levels)::

    __main__.py               python -m dataworth: the same as the console script dataworth
    py.typed                  marks the package as typed
    config.py                 Recipe, Study, Run, Machine: frozen records with every default value
    variants.py               named changes to a recipe, one curve each; subset sizes
    errors.py                 exceptions for user mistakes and damaged files; wording of messages
    console.py                console output that cooperates with tqdm; closed and full streams
    signals.py                SIGINT, SIGTERM, SIGHUP: stop after the current step or at once
    memory.py                 host memory: what this process holds, and what is left
    devices.py                device, precision (bf16, TF32), threads, seeding: global torch state

    commands/                 one file per command: flags -> steps -> exit code
        cli.py                the console script: subcommands train, eval, predict, forecast, ...
        data.py               dataworth data: splits of a data set, near duplicates, leaks
        train.py              dataworth train: one run per size and seed; exit code 3 if one failed
        eval.py               dataworth eval: score the complete runs, fit the law, draw figures
        eval_scores.py        scores of --full and --conformal, added to those of eval
        eval_output.py        tables, laws, findings and report that dataworth eval writes
        output_processes.py   its laws, files and figures, made side by side by more processes
        predict.py            dataworth predict: classify pictures with a trained run
        forecast.py           dataworth forecast: the law of measured errors, without torch
        forecast_flags.py     its flags: which have no effect, and values without an answer
        explore.py            dataworth explore: serve the explorer page
        export.py             dataworth export: safetensors or ONNX with a card; push to the hub
        track.py              dataworth track: replay a study into an experiment tracker
        flags.py              flags of each command as frozen records
        measured_points.py    the points of dataworth forecast: a table, or a variant of a study
        parsing.py            command line and YAML config to records: default < file < flag
        help_text.py          text of --help: defaults that say something
        planning.py           settings, data and runs of a study, checked before anything is written
        cost.py               disk space, memory and estimated time of a study, for --plan
        exit_codes.py         definition of exit codes 0, 1, 2, 3, 128 + signal; one-line errors

    data/                     name or folder -> splits -> nested subsets -> cache -> batches
        datasets.py           DATASETS: from a name or a path to an ImageDataset
        digits.py             scikit-learn's handwritten digits, read without its import
        class_folders.py      local class folders: images by split and class, unused files
        folder_checks.py      local folders: no FIFOs, no README.md that names other folders
        hub.py                download from the Hugging Face hub, or load a local folder
        class_names.py        words for WordNet ids, for people to read
        labels.py             image and label column; labels encoded as class indices
        groups.py             groups of images, by a column or file names; groups in two splits
        splits.py             train, validation and test split; missing splits taken from train
        near_duplicates.py    pairs of re-encoded, cropped or shifted images, by perceptual hashes
        label_noise.py        wrong training labels of a run, nested like the subsets
        subsets.py            stratified order per seed, subsets are its prefixes; sizes refused
        images.py             decode one image file: EXIF orientation, RGB, resize, centre crop
        decoding.py           decode all images of a split in worker processes
        contents.py           hash of the files of a local folder, kept until one of them changes
        cache.py              cache of decoded uint8 pixels on disk, written once; bad images
        prepare.py            PreparedData: data set and opened cache, shared by all runs
        pixels.py             pixel stores: pixels resident on the device, or streamed in batches
        augmentation.py       shuffle, crops and flips drawn from (seed, epoch)
        transforms.py         crop, flip and resized crop of a batch, on any device
        normalisation.py      ChannelStats: mean and deviation per channel, measured and applied
        loaders.py            iterate over the batches of a split for training and evaluation
        overview.py           tables and example images for eda.ipynb

    models/                   model name -> classifier with fresh weights
        registry.py           MODELS: torchvision's, timm's and our own; minimum image size
        batch_memory.py       lower bounds of the memory of a batch; more than there is is refused
        alexnets.py           alexnet-small, alexnet-paper, alexnet-bn
        timm_models.py        timm:NAME, with its input size and normalisation
        weights.py            weights files: read, describe, compare with a model
        pretrained.py         --init: body of a run's or of torchvision's weights, normalisation

    training/                 one training run
        trainer.py            the run, the epoch, the step: forward pass, loss, backward pass
        cuda_graphs.py        the step called directly, or captured and replayed as a CUDA graph
        state.py              TrainState: weights, optimiser, best epoch, position in the epoch
        optimization.py       SGD, Adam, AdamW; step, cosine and constant learning-rate schedules
        checkpointing.py      when a snapshot is taken and what it holds; resume; divergence
        epoch_records.py      after each epoch: calls epoch_log, writes TensorBoard events
        throughput.py         images per second on random pixels; estimated duration of a study

    distributed/              several processes that train one run; no-ops in a single process
        process_group.py      world size, ranks, sharding of a batch, lost processes
        collectives.py        all-reduce (sum of gradients), all-gather, broadcast, rank-0-first
        batch_norm.py         synchronised batch normalisation

    storage/                  study and run directories, identity, locks, snapshots, logs
        study_directory.py    study.json: requested sizes, seeds and variants; list of its runs
        run_directory.py      config.json, subset.npz, done of a run; its layout
        weights.py            best.safetensors of a run, with its identity in the metadata
        identity.py           on resume: are recipe, data and subset those of config.json?
        machine_settings.py   launcher, hosts and outside folders: flags choose them, no stored file
        snapshots.py          last.pt and previous.pt: write, verify, load the newest intact one
        files.py              atomic writes (temporary file, fsync, replace) and SHA-256 files
        locks.py              one process per run and per cache, by kernel locks
        epoch_log.py          metrics.csv of a run: columns, append and read a row per epoch
        status.py             --status: progress of each run, read from its directory
        predictions.py        *.npz in results/: logits and labels of each run, confusion matrices
        disk_space.py         free disk space against what a command will write
        environment.py        environment.json: versions, git commit, hardware, date

    evaluation/               logits -> ranks -> errors with intervals -> records -> metrics.json
        evaluator.py          run a trained model on every split: logits, then scores
        metrics.py            rank of the true label; top-k error and mean loss of given logits
        intervals.py          interval of a measured point: Wilson, seeds pooled or not; chance
        records.py            typed records of metrics.json, the schema of the results
        added_records.py      typed records of what --full and --conformal add to it
        results.py            build, read and write metrics.json; means per size
        tables.py             metrics.json as tables: one row per run and split, one per size
        full.py               --full: confusion matrix, calibration, per-class scores
        calibration.py        calibration of probabilities: reliability bins, ECE, NLL
        correlations.py       how alike the answers of two variants are, for the worth of options
        leaks.py              error on test images with and without a near duplicate in train
        per_class.py          per class: precision, recall, F1, paired drop in error, verdict

    conformal/                prediction sets with a coverage guarantee
        scores.py             LAC, APS, RAPS scores; thresholds; prediction sets
        thresholds.py         compute thresholds on the calibration set; conformal.json
        coverage.py           --conformal: coverage and set size on the test split

    prediction/               a trained run on new pictures
        selection.py          which model: study, variant, size, seed, or a weight file
        flags.py              flags for that choice
        classifier.py         load a trained model from a run directory or a weight file
        pictures.py           find and decode picture files
        answers.py            rows of predictions; CSV, JSON, Parquet
        explain.py            Grad-CAM; first-layer filters
        model_card.py         model card with the hub's metadata, config.json

    scaling/                  measured errors -> laws -> posterior -> forecast; numpy, scipy only
        points.py             measured points: mean over seeds, binomial and seed variance
        laws.py               LAWS: power law, with floor, from chance level, M4, broken power law
        priors.py             priors of the laws, their parameters, drift and scatter
        starts.py             what a classifier starts from, as the help names it; no scipy
        sampling.py           posterior draws: tempered sampling, importance sampling, evidence
        fitting.py            points -> average over laws weighted by posterior probability
        posterior.py          Posterior: draws of curves
        forecasting.py        error at n, images for a target error, backtests
        experiment_design.py  which run to train next; simulated precision of a planned study
        purchases.py          how many images to order now, by dynamic programming
        class_laws.py         laws of classes, partially pooled; gains; a budget over the classes
        analysis.py           all of this for one curve, as one record
        worth.py              two curves: what an option is worth in images of a baseline
        grid.py               measured cells of images and training steps
        training_laws.py      laws of both, made of laws.py, with their priors
        training_fit.py       cells -> average over these laws
        training_forecasts.py collect or train longer? forecasts, backtest

    findings/                 what a study found, as tables and sentences; no torch
        study.py              one record per variant; the summary paragraph
        curves.py             the points of each error metric, with its analysis
        sentences.py          law, backtest, forecasts and targets in words; percent
        tables.py             gains per doubling, comparison, exponents
        worth.py              what each option is worth in images: table and sentences
        orders.py             how many images to order now: plan, sentences, what certainty costs
        training.py           collect or train longer? from several epochs or budgets
        costs.py              with prices: cost of an option and of the images that it replaces
        classes.py            which class gains most from more images: table and sentences
        convergence.py        best epoch, errors and steps to half of the gain, per size

    figures/                  all drawing; no torch
        style.py              axes, colours, fonts, markers, captions
        files.py              reproducible PNG and PDF files
        scaling.py            error against training images, with law, forecast, backtest
        worth.py              what each option is worth, with intervals
        training.py           map of the error over images and steps
        learning.py           loss and error over epochs
        evaluation.py         reliability, confusion matrix, errors and gains per class
        conformal.py          coverage and size of prediction sets
        dataset.py            class balance, image sizes, transforms
        explanation.py        Grad-CAM maps, filters

    tracking/                 an evaluated study as runs of an experiment tracker
        registry.py           TRACKERS: mlflow, trackio, wandb
        replay.py             what a tracker is told: a run for the study, one for each of its runs
        mlflow.py             MLflow: nested runs, in a local file or on a server
        trackio.py            trackio: a group of runs in a local file
        wandb.py              Weights & Biases: a group of runs, offline files or the server
    forecaster/               the forecaster as a library: measurements -> LearningCurve; no torch
        learning_curve.py     LearningCurve: parameters and fit in the manner of scikit-learn
        fitted_curve.py       what it answers: errors, intervals, probabilities, required sizes
        measurements.py       measured errors from a table: shares, accuracies, percent, seeds
        columns.py            which columns hold sizes, errors and test images, by their names
        runs.py               sizes and values of a table as numbers, and values as errors
        flags.py              flags that settle what a file leaves open
        number_formats.py     numbers in cells: decimal commas, thousands, percent
        rows.py               Table: named columns of cells and the place of each row
        tables.py             a file as a table: CSV in its dialects, .json, .jsonl, .xlsx
        json_tables.py        layouts of JSON: records, columns, pandas, scikit-learn, W&B
        workbooks.py          sheets of .xlsx files, within bounds

    report/                   report.html: one self-contained page about a study
        page.py               gather everything and write the page
        page.html             its jinja2 template: head, with the policy
        body.html             the template of its content
        page.css              its style, in a light and a dark theme
        page.js               its values of figures, slider of target errors, contents in view
        sections.py           the section of one variant
        tables.py             tables of the page
        drawings.py           figures as inline SVG, with the values to show
        hover.py              values that a figure shows to readers who point at it
        dark_theme.py         colours of figures in the dark theme
        mistakes.py           most confident mistakes with thumbnails
        run_status.py         status, duration and environment of each run

    explorer/                 local web page (gradio)
        page.py               heading, choice of the variant, tabs
        pictures.py           tab: predictions of each subset size for a picture
        law.py                tab: sliders; images for an error, error for images
        order.py              tab: how many images to order now
        worth.py              tab: what each variant is worth in images
        components.py         pictures and figures without files; escaped Markdown; style
        server.py             serves it on 127.0.0.1
        guard.py              refuses requests of other sites and large uploads, hides paths
        study.py              models, findings and test images of a study
        answers.py            prediction of a model for a picture
        flags.py              flags of dataworth explore

    launching/                where the runs of a study execute
        registry.py           LAUNCHERS: local, ray, slurm
        local.py              on this machine: one run after another, or several side by side
        side_by_side.py       worker processes: start, messages, signals, deaths
        split.py              --jobs auto: runs at a time and threads of each, by measured speed
        remote.py             common to Ray and Slurm: retries, progress from run directories
        ray_cluster.py        connect to Ray; security; how many runs fit
        ray_tasks.py          one Ray task per run
        slurm.py              one Slurm array task per run, by submitit
        progress.py           progress bars and lines; warning of a loss at chance level
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .forecaster.learning_curve import LearningCurve

__all__ = ["LearningCurve", "__version__"]
__version__ = "0.2.0"

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import LearningCurve on first use: commands start without waiting for scipy."""
        if name == "LearningCurve":
            from .forecaster.learning_curve import LearningCurve

            return LearningCurve
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

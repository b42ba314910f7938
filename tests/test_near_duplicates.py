"""Near duplicates: planted copies are found, others are not, and leaks are measured."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dataworth.commands import data as data_command
from dataworth.data.images import decode_square
from dataworth.data.near_duplicates import MAX_PARTNERS, Pool, near_duplicates
from dataworth.data.prepare import open_data
from dataworth.evaluation.intervals import wilson_interval
from dataworth.evaluation.leaks import leak_effect
from dataworth.evaluation.results import read_results
from dataworth.models.registry import head_names
from dataworth.storage.study_directory import StudyDirectory
from tests import made
from tests.conftest import command

SIDE = 64


def pool_of(images):
    pixels = np.stack([decode_square(made.encoded(image, "jpeg"), SIDE) for image in images])
    return Pool([(pixels, np.arange(len(pixels)))])


def moved(image, pixels):
    return Image.fromarray(np.pad(np.asarray(image), ((pixels, 0), (0, 0), (0, 0)), "edge")).crop(
        (0, 0, *image.size)
    )


COPIES = {
    "smaller": lambda image: image.resize((96, 72)),
    "brighter": lambda image: image.point(lambda level: 0.9 * level + 20),
    "cropped": lambda image: image.crop((8, 4, 152, 112)),
    "shifted": lambda image: moved(image, 6),
}


def test_planted_copies_are_the_pairs_that_are_found():
    scenes = [made.scene(seed=seed) for seed in range(60)]
    copies = [copy(scenes[i]) for i, copy in enumerate(COPIES.values())]
    found = near_duplicates(pool_of([*scenes, *copies]))
    assert sorted(map(tuple, found.pairs.tolist())) == [(i, 60 + i) for i in range(len(COPIES))]
    assert (found.similarity >= 0.9).all()
    assert (np.diff(found.similarity) <= 0).all()


def test_pairs_are_those_of_comparing_everything_at_once_or_in_parts():
    scenes = [made.scene(seed=seed % 20) for seed in range(30)]
    whole = pool_of(scenes)
    pixels = whole.parts[0][0]
    parts = Pool([(pixels, np.arange(12)), (pixels[::-1], np.arange(18)[::-1])])
    assert len(parts) == 30
    for pool in (whole, parts):
        expected = [(i, 20 + i) for i in range(10)]
        assert sorted(map(tuple, near_duplicates(pool).pairs.tolist())) == expected


def test_flat_images_other_colours_and_single_images_are_no_duplicates():
    flat = [Image.new("RGB", (80, 80), (level, level, level)) for level in (0, 0, 200)]
    scene = made.scene()
    red, *others = scene.split()
    tinted = Image.merge("RGB", [red.point(lambda level: 0.3 * level), *others])
    assert len(near_duplicates(pool_of([*flat, scene, tinted])).pairs) == 0
    assert len(near_duplicates(pool_of([scene])).pairs) == 0


def test_features_find_copies_whose_hashes_differ():
    scenes = [made.scene(seed=seed) for seed in range(40)]
    crops = [scene.crop((20, 8, 140, 104)) for scene in scenes[:20]]
    pool = pool_of([*scenes, *crops])
    scene_of = np.concatenate([np.arange(40), np.arange(20)])
    features = np.eye(40, dtype=np.float32)[scene_of]
    expected = {(i, 40 + i) for i in range(20)}
    by_hash, by_both = (
        {tuple(pair) for pair in near_duplicates(pool, 0.8, given).pairs.tolist()}
        for given in (None, features)
    )
    assert by_hash < by_both <= expected
    unhelpful = np.zeros((60, 3), np.float32)
    assert by_hash == {tuple(p) for p in near_duplicates(pool, 0.8, unhelpful).pairs.tolist()}
    alone = pool_of(scenes[:1])
    assert len(near_duplicates(alone, features=features[:1]).pairs) == 0


def test_the_largest_run_gives_the_features(study):
    directory = StudyDirectory.find(study / "checkpoints")
    classifier = data_command._trained_classifier(directory)
    assert classifier.num_images == max(
        len(run.subset()) for run in directory.run_directories().values()
    )
    side = classifier.recipe.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    features = classifier.features(pixels)
    (name,) = {key.rpartition(".")[0] for key in head_names("alexnet-small", side)}
    head = classifier.model.get_submodule(name)
    logits = features @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    assert logits == pytest.approx(classifier.logits(pixels), abs=1e-4)


def test_many_copies_of_one_image_are_bounded_work():
    pixels = np.repeat(pool_of([made.scene()]).parts[0][0], 80, axis=0)
    found = near_duplicates(Pool([(pixels, np.arange(80))]))
    assert len(np.unique(found.pairs)) == 80
    assert len(found.pairs) <= 80 * MAX_PARTNERS


def test_the_effect_of_leaks_is_share_times_difference():
    twins = np.arange(1000) < 100
    wrong = np.zeros(1000, dtype=bool)
    wrong[:10] = wrong[100:460] = True  # 10 % of the twins, 40 % of the others
    effect = leak_effect(5000, [wrong, wrong], [twins, twins])
    assert (effect.error_twins, effect.error_others, effect.num_twins) == (0.1, 0.4, 100)
    assert effect.effect == pytest.approx(effect.error - effect.error_others)
    low, high = wilson_interval(0.1, 100)
    assert effect.twins_interval == (low, high)
    assert effect.effect_interval[0] < 0.1 * (low - 0.4) < effect.effect < 0.1 * (high - 0.4)
    assert effect.effect_interval[1] < 0
    assert leak_effect(5000, [wrong], [twins & False]) is None


def test_the_command_writes_pairs_and_a_picture(workplace, capsys):
    for i in range(24):
        scene = made.scene(seed=i)
        folder = workplace / "photos" / ("train" if i < 16 else "test") / f"class {i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i}.jpg").write_bytes(made.encoded(scene, "jpeg"))
    leak = workplace / "photos/test/class 1/copy of 2.jpg"
    leak.write_bytes(made.encoded(made.scene(seed=2).resize((99, 81)), "jpeg", quality=50))
    exact = workplace / "photos/test/class 0/=copy of 4.jpg"
    exact.write_bytes(made.encoded(made.scene(seed=4), "jpeg"))
    assert command(data_command.data, "photos", "--duplicates") == 0
    table = pd.read_csv("results/eda/near_duplicates.csv")
    files = set(zip(table["file_1"], table["file_2"], strict=True))
    assert ("train/class 0/2.jpg", "test/class 1/copy of 2.jpg") in files
    assert ("train/class 0/4.jpg", "test/class 0/=copy of 4.jpg") in files
    assert len(table) == 2
    assert table.set_index("file_2")["exact"].to_dict() == {
        "test/class 1/copy of 2.jpg": False, "test/class 0/=copy of 4.jpg": True,
    }  # fmt: skip
    assert (workplace / "results/eda/near_duplicates.png").stat().st_size > 1000
    text = capsys.readouterr().out
    assert "train, test" in text
    assert "of different classes" in text


def test_leaks_of_a_study_are_measured_in_its_stored_answers(study, tmp_path, monkeypatch):
    monkeypatch.chdir(study)
    directory = StudyDirectory.find(study / "checkpoints")
    data = open_data(directory.record.recipe, directory.record.machine)
    subset = directory.run_directories()
    (small, *_) = sorted({run.subset_size for run in subset})
    rows = next(d for run, d in subset.items() if run.subset_size == small).subset()
    leaks = pd.DataFrame({"index_1": rows[:20], "index_2": np.arange(20)})
    effects = data_command._leak_effects(leaks, data, directory, study / "results" / "s")
    results = read_results(study / "results" / "s" / "metrics.json")
    sizes = {run.num_images for run in results.complete_runs}
    assert {effect.num_images for _, effect in effects} == sizes
    for _, effect in effects:
        runs = [run for run in results.complete_runs if run.num_images == effect.num_images]
        errors = [run.splits["test"].top_1_error for run in runs]
        assert effect.error == pytest.approx(np.mean(errors))
        assert effect.num_runs == len(runs)
    assert effects[-1][1].num_twins == 20
    leaks = leaks.assign(split_1="train", split_2="test")
    text = data_command._describe_leaks(leaks, data, directory, None)
    assert text.count(" images: ") == len(sizes)
    (tmp_path / "s").mkdir()
    for _ in range(2):  # not evaluated; evaluated elsewhere, without the answers
        text = data_command._describe_leaks(leaks, data, directory, tmp_path)
        assert text.endswith(f"run eval.py first; its answers are not in {tmp_path / 's'}.")
        shutil.copy(study / "results" / "s" / "metrics.json", tmp_path / "s")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--experiment-id", "s"], "name a data set or --experiment-id, not both"),
        (["digits", "--duplicates", "--threshold", "2"], "threshold"),
        (["nowhere/at-all", "--duplicates"], "nowhere/at-all"),
        ([], "no study in checkpoints"),
    ],
)
def test_bad_words_are_one_line(words, message, workplace, capsys):
    assert command(data_command.data, *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error

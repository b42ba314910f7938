"""docs/tutorial.md: the whole tutorial works on folders of JPEG files."""

import io
import re
import shlex

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dataworth.commands import eval as eval_command
from dataworth.commands import forecast as forecast_command
from dataworth.commands import predict as predict_command
from dataworth.commands import train as train_command
from tests.conftest import ROOT, command

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = re.findall(r"^python (\w+)\.py(.*)$", TEXT.replace("\\\n", ""), re.MULTILINE)
RUN = {
    "eval": eval_command.evaluate,
    "forecast": forecast_command.forecast,
    "predict": predict_command.predict,
    "train": train_command.train,
}


def write_photos(folder, num_train, num_test):
    """Write digits as JPEG files, one folder per class; return the path of the last one."""
    images, labels = load_digits(return_X_y=True)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        if i >= num_train + num_test:
            break
        split = "train" if i < num_train else "test"
        path = folder / split / f"class {label}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = Image.fromarray((image.reshape(8, 8) * 15).astype("uint8")).resize((64, 80))
        file = io.BytesIO()
        pixels.convert("RGB").save(file, "jpeg")
        path.write_bytes(file.getvalue())
    return path


@pytest.mark.slow
def test_the_whole_tutorial_works_on_folders_of_images(workplace, capsys):
    last = write_photos(workplace / "photos", 480, 240)
    (workplace / "photo.jpg").write_bytes(last.read_bytes())
    assert len(COMMANDS) == 8  # the last one, app.py, serves a page
    outputs = []
    for script, words in COMMANDS:
        if script in RUN:
            assert command(RUN[script], *shlex.split(words)) == 0, words
            outputs.append(capsys.readouterr().out)
    output = "\n".join(outputs)
    assert "10 classes" in output
    assert "12 of 12 runs complete" in output
    assert "the last step gained" in " ".join(output.split())
    assert "Without the largest size, the forecast for" in output
    assert "Error 5.0 %: " in output
    assert "by one more run" in output
    assert (workplace / "results" / "photos" / "per_class.csv").exists()

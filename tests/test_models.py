import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import timm
import torch
import torchvision.models
from safetensors.torch import load, save
from torch.optim import SGD, Adam, AdamW

from dataworth import devices
from dataworth.commands import export as export_command
from dataworth.commands import predict as predict_command
from dataworth.commands.flags import TrainFlags
from dataworth.commands.parsing import parse_train
from dataworth.config import Recipe
from dataworth.data.normalisation import CHANNEL_STATS
from dataworth.devices import autocast, check_precision, pick_device, seed_torch
from dataworth.errors import InputError
from dataworth.models import registry
from dataworth.models.registry import (
    MODELS,
    accepts_image_size,
    build_model,
    build_on_meta,
    check_image_size,
    weight_bytes,
)
from dataworth.training.optimization import SCHEDULES, build_optimizer, learning_rate
from tests import made
from tests.conftest import PATHS, command, evaluate, train

NAMES = [*MODELS, *torchvision.models.list_models(module=torchvision.models)]
ONE_OF_EACH_FAMILY = {
    *MODELS, "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet",
    "inception_v3", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_x_400mf", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1",
    "swin_t", "swin_v2_t", "vgg11", "vit_b_16",
}  # fmt: skip
SIZES = (32, 63, 64, 75, 224, 227)  # pixels; the last two: maxvit_t and alexnet-paper
MAX_WEIGHT_BYTES = 345_000_000  # larger models are checked on the meta device only


@pytest.mark.parametrize(
    "name",
    [n if n in ONE_OF_EACH_FAMILY else pytest.param(n, marks=pytest.mark.slow) for n in NAMES],
)
def test_every_model_computes_logits_and_loads_its_weights_from_safetensors(name):
    size = next(size for size in SIZES if accepts_image_size(name, size))
    check_image_size(name, size)
    if weight_bytes(name, 3, size) > MAX_WEIGHT_BYTES:
        with torch.device("meta"):
            assert build_on_meta(name, 3, size)(torch.empty(2, 3, size, size)).shape == (2, 3)
        return
    other = build_on_meta(name, 3, size).to_empty(device="cpu")  # the weights are all it gets
    check_contract(build_model(name, 3, size), other, size)


def check_contract(model, other, size):
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        assert model.train()(images).shape == (2, 3)
        logits = model.eval()(images)
        other.load_state_dict(load(save(model.state_dict())))
        assert torch.equal(other.eval()(images), logits)


TIMM_FAMILIES = (  # of 0.3 to 6 million parameters
    "test_resnet", "test_convnext", "test_vit", "test_efficientnet", "test_mambaout", "test_nfnet",
    "resnet10t", "convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_050", "regnetx_002",
    "levit_128s", "ghostnet_050", "mixer_s32_224",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"timm:{name}" for name in TIMM_FAMILIES])
def test_a_model_of_each_family_of_timm_keeps_the_contract(name):
    size = next(size for size in SIZES if accepts_image_size(name, size))
    model, other = (build_model(name, 3, size) for _ in range(2))  # some have buffers of constants
    check_contract(model, other, size)


@pytest.mark.slow
def test_a_model_of_timm_goes_through_every_command(workplace, capsys):
    words = ["--dataset", "digits", "--model", "timm:resnet10t", "--image-size", "32"]
    words += ["--augment", "crop", "--subset-sizes", "0.25", "--learning-rate", "0.05"]
    assert train(*words, "--epochs", "3", "--batch-size", "64", "--experiment-id", "s") == 0
    assert train("--resume", "s") == 0  # finished: its identity is that of the command
    assert evaluate() == 0
    assert "alexnet" not in capsys.readouterr().out
    (workplace / "a.png").write_bytes(made.encoded(made.scene(40, 40), "png"))
    answers = []
    assert command(export_command.export, "--output", "model") == 0
    for chosen in ([], ["--weights", "model/model.safetensors"]):
        words = ["--image", "a.png", "--output", "a.json", *chosen]
        assert command(predict_command.predict, *words) == 0
        answers.append(json.loads(Path("a.json").read_text())[0]["top_1_probability"])
    assert answers[0] == answers[1]
    results = json.loads(Path("results/s/metrics.json").read_text())
    (run,) = results["runs"]
    assert run["status"] == "complete"  # better than chance level


def test_models_of_timm_are_built_for_the_size_that_is_asked():
    images = torch.empty(2, 3, 64, 64, device="meta")
    for name in ("timm:test_resnet", "timm:test_vit", "timm:test_resnet.r160_in1k"):
        assert build_on_meta(name, 7, 64)(images).shape == (2, 7)
    with pytest.raises(InputError, match="--image-size 63: timm:test_vit needs >= 64 pixels"):
        check_image_size("timm:test_vit", 63)


def test_defaults_of_timms_models_are_used_unless_others_are_given():
    words = ["--dataset", "digits", "--model"]
    recipe = parse_train([*words, "timm:resnet10t"]).recipe
    assert (recipe.image_size, recipe.normalise) == (176, "imagenet")
    recipe = parse_train([*words, "timm:vit_tiny_patch16_224", "--image_size=32"]).recipe
    assert (recipe.image_size, recipe.normalise) == (32, "inception")
    recipe = parse_train([*words, "timm:vit_tiny_patch16_224", "--normalise", "dataset"]).recipe
    assert (recipe.image_size, recipe.normalise) == (224, "dataset")
    stored = TrainFlags(recipe=Recipe(model="timm:resnet10t", image_size=64))
    assert parse_train([], stored).recipe.image_size == 64
    assert parse_train([*words, "resnet18"]).recipe == Recipe(dataset="digits", model="resnet18")


def test_several_models_share_the_size_of_all_or_it_must_be_given():
    words = ["--model", "timm:resnet10t", "timm:test_vit"]
    with pytest.raises(
        InputError, match=r"176 \(timm:resnet10t\), 160 \(timm:test_vit\); give --i"
    ):
        parse_train(words)
    flags = parse_train([*words, "--image-size", "64", "--normalise", "imagenet"])
    names = [name for name, _ in flags.study.variants]
    assert names == ["timm-resnet10t", "timm-test_vit"]


def test_every_normalisation_of_timm_has_a_name():
    for name in timm.list_models():
        config = timm.get_pretrained_cfg(name)
        assert (tuple(config.mean), tuple(config.std)) in CHANNEL_STATS.values(), name
    named = set(get_args(Recipe.model_fields["normalise"].annotation))
    assert named == {*CHANNEL_STATS, "dataset"}


def test_shapes_are_inferred_for_the_weights_that_are_built():
    for name in ("regnet_y_400mf", "mnasnet0_5", "swin_t", "alexnet-small"):
        state = build_model(name, 3, 64).state_dict()
        inferred = build_on_meta(name, 3, 64).state_dict()
        assert {k: (v.shape, v.dtype) for k, v in state.items()} == {
            k: (v.shape, v.dtype) for k, v in inferred.items()
        }
        assert all(tensor.is_meta for tensor in inferred.values())


@pytest.mark.parametrize("name", [*MODELS, "alexnet", "resnet18", "googlenet"])
def test_every_model_maps_images_to_logits_and_learns_in_both_modes(name):
    size = 227 if name == "alexnet-paper" else 64
    model = build_model(name, num_classes=7, image_size=size)
    images = torch.randn(2, 3, size, size)
    assert model.train()(images).shape == (2, 7)
    assert model.eval()(images).shape == (2, 7)


def test_alexnet_is_torchvisions():
    model = build_model("alexnet", 100, 227)
    widths = [layer.out_channels for layer in model.features if hasattr(layer, "out_channels")]
    assert widths == [64, 192, 384, 256, 256]
    assert sum(p.numel() for p in model.parameters()) == 57_413_540


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "squeezenet1_0", "alexnet-small"])
def test_pooling_before_relu_changes_no_bit_of_logits_and_gradients(name):
    images, labels = torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 0])
    ours = build_model(name, 3, 64)
    if name in MODELS:
        plain = MODELS[name](3, 0.5)
    else:
        plain = torchvision.models.get_model(name, num_classes=3)
    plain.load_state_dict(ours.state_dict())
    layers = [[type(layer) for layer in model.modules()] for model in (ours, plain)]
    assert layers[0][layers[0].index(torch.nn.MaxPool2d) + 1] is torch.nn.ReLU
    assert layers[0] != layers[1]
    results = []
    for model in (ours, plain):
        torch.manual_seed(0)  # dropout
        logits = model.to(memory_format=torch.channels_last)(images)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        results.append([logits, *(parameter.grad for parameter in model.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_alexnet_paper_is_that_of_2012():
    layers = list(build_model("alexnet-paper", 1000, 227))
    learned = [layer for layer in layers if hasattr(layer, "weight")]
    assert [layer.weight.shape[0] for layer in learned[:5]] == [96, 256, 384, 384, 256]
    assert [float(layer.bias.detach().unique()) for layer in learned] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert all(abs(layer.weight.std().item() - 0.01) < 5e-4 for layer in learned)
    (norm, _) = [layer for layer in layers if isinstance(layer, torch.nn.LocalResponseNorm)]
    maps = torch.rand(1, 7, 2, 2)
    around = (maps[0, 1:6] ** 2).sum(0)  # section 3.3: k + alpha * sum over n = 5 channels
    assert torch.allclose(norm(maps)[0, 3], maps[0, 3] / (2 + 1e-4 * around) ** 0.75)


def test_torchvision_classifiers_get_a_head_of_the_right_width():
    for name in ("resnet18", "resnet50", "vit_b_16"):
        with torch.device("meta"):
            model = build_model(name, 7, 64)
            assert model(torch.empty(2, 3, 64, 64)).shape == (2, 7)


def test_recipes_dropout_reaches_the_model():
    for name in ("alexnet", *MODELS, "vgg11"):
        with torch.device("meta"):
            model = build_model(name, 10, 64, dropout=0.25)
        assert {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)} == {0.25}


def test_seed_decides_the_weights():
    def weights(*key):
        seed_torch(*key)
        return next(build_model("alexnet-small", 10, 32).parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.fault(49)
def test_unknown_model_offers_the_nearest():
    with pytest.raises(InputError, match=r"timm has no model 'resnet10'; did you mean timm:resnet"):
        build_model("timm:resnet10", 10, 224)
    with pytest.raises(InputError, match="timm has no model 'hf-hub:someone/else'"):
        build_model("timm:hf-hub:someone/else", 10, 224)
    with pytest.raises(InputError, match=r"no model 'resnet5'; did you mean .*resnet50"):
        build_model("resnet5", 10, 224)


@pytest.mark.fault(48)
def test_too_small_an_image_is_refused_with_the_smallest():
    with pytest.raises(InputError, match=r"--image-size 32: alexnet needs >= 63 pixels"):
        check_image_size("alexnet", 32)
    check_image_size("alexnet", 63)
    with pytest.raises(InputError, match=r"alexnet-bn needs >= 63 pixels"):
        check_image_size("alexnet-bn", 62)
    with pytest.raises(InputError, match=r"alexnet-paper needs >= \d+ pixels"):
        check_image_size("alexnet-paper", 64)
    assert all(accepts_image_size("alexnet-bn", size) for size in (63, 64, 100, 227, 256))
    assert accepts_image_size("alexnet-paper", 227)
    assert accepts_image_size("alexnet-small", 32)
    assert accepts_image_size("vit_b_32", 64)


def shapes(name, size):
    functions = (registry.activation_sizes, accepts_image_size, registry.needs_two_images)
    for function in functions:
        function.cache_clear()
    return [functions[0](name, 10, size), *(function(name, size) for function in functions[1:])]


@pytest.mark.parametrize(("name", "size"), [("alexnet-small", 32), ("alexnet-bn", 70)])
def test_a_pass_on_the_cpu_infers_the_shapes_of_the_meta_device(name, size, monkeypatch):
    on_meta = shapes(name, size)
    monkeypatch.setattr(registry, "COMPILER", "not imported yet")
    state = torch.get_rng_state()
    assert shapes(name, size) == on_meta
    assert torch.equal(torch.get_rng_state(), state)


def test_small_models_are_trained_without_the_import_of_the_compiler():
    code = """if True:
        import sys, torch
        from dataworth.config import Recipe
        from dataworth.models.registry import activation_sizes, build_model, check_image_size
        from dataworth.training.optimization import build_optimizer
        check_image_size("alexnet-small", 32)
        activation_sizes("alexnet-small", 10, 32)
        model = build_model("alexnet-small", 10, 32)
        optimizer = build_optimizer(model.parameters(), Recipe(), torch.device("cpu"))
        model(torch.ones(2, 3, 32, 32)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        assert not {"torch._dynamo", "sympy"} & sys.modules.keys()
    """
    environment = os.environ | {"PYTHONPATH": PATHS}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize(("name", "plain"), [("sgd", SGD), ("adam", Adam), ("adamw", AdamW)])
def test_an_optimizer_makes_the_steps_of_torch_to_the_bit(name, plain):
    recipe = Recipe(optimizer=name, weight_decay=0.01)
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 50)) for _ in range(2))
    optimizer = build_optimizer([ours], recipe, torch.device("cpu"))
    momentum = {"momentum": recipe.momentum} if name == "sgd" else {}
    twin = plain([theirs], recipe.learning_rate, weight_decay=0.01, fused=True, **momentum)
    for _ in range(3):
        for each, parameter in ((optimizer, ours), (twin, theirs)):
            each.zero_grad()
            parameter.pow(3).sum().backward()
            each.step()
    assert torch.equal(ours, theirs)


def test_absent_devices_are_refused():
    with pytest.raises(InputError, match="--device nonsense: not found"):
        pick_device("nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="--device cuda: not found"):
            pick_device("cuda")


def test_bf16_is_refused_where_it_is_emulated(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(devices, "has_bf16", devices.has_bf16.__wrapped__)  # not the cached answer
    assert not devices.has_bf16(cpu)
    with pytest.raises(InputError, match="--precision bf16"):
        check_precision(cpu, "bf16")
    with autocast(cpu, "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_starts_at_the_learning_rate_and_never_rises(name):
    recipe = Recipe(schedule=name)
    rates = [learning_rate(recipe, i / 90) for i in range(90)]
    assert rates[0] == recipe.learning_rate
    assert rates == sorted(rates, reverse=True)
    assert min(rates) > 0


def test_step_divides_by_ten_at_one_and_two_thirds():
    for epochs in (3, 12, 90, 91):
        rates = [learning_rate(Recipe(), epoch / epochs) for epoch in range(epochs)]
        drops = [i for i in range(1, epochs) if rates[i] < rates[i - 1]]
        assert drops == [-(-epochs // 3), -(-2 * epochs // 3)]
        assert rates[-1] == pytest.approx(1e-4)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_every_optimizer_takes_its_settings_from_the_recipe(name):
    recipe = Recipe(optimizer=name, learning_rate=0.1, weight_decay=0.01)
    optimizer = build_optimizer([torch.nn.Parameter(torch.ones(3))], recipe, torch.device("cpu"))
    assert type(optimizer).__name__.lower() == name
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert optimizer.param_groups[0]["weight_decay"] == 0.01

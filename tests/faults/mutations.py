"""Harms to the files of a study: generated for each format from a seed, 60 and more a file."""

import copy
import io
import json
import os
import random
import shutil
import zipfile

import numpy as np
import torch
from safetensors.torch import load, save

MANY = 80  # harms of each file
VALUES = {
    "null": None, "true": True, "zero": 0, "negative": -1, "fraction": 0.5, "huge": 10**400,
    "long": 10**18, "nan": float("nan"), "infinity": float("inf"), "empty string": "",
    "string": "x", "number in a string": "1", "list": [], "object": {}, "list of null": [None],
    "absolute path": "/tmp/elsewhere/x", "upwards": "../../../elsewhere/x",
    "control": "a\x1b[2J\nb\0", "surrogate": "\ud800", "10 MB": "x" * 10**7,
}  # fmt: skip
DEEP = "[" * 100_000


def places(content, path=()):
    """Every path into nested lists and objects."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def edited(content, place, change):
    """A copy in which ``change(parent, key)`` was made at a place."""
    content = inner = copy.deepcopy(content)
    for key in place[:-1]:
        inner = inner[key]
    change(inner, place[-1])
    return content


def byte_harms(content, rng):
    """Harms to the bytes of a file of any format."""
    for share in (0, 1 / 7, 1 / 3, 1 / 2, 0.9):
        yield f"truncated to {share:.2f}", content[: int(share * len(content))]
    yield "without the last byte", content[:-1]
    for i in range(6):
        flipped = bytearray(content or b"\0")
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        yield f"flip {i}", bytes(flipped)
    start = len(content) // 3
    yield "zeros within", content[:start] + bytes(64) + content[start + 64 :]
    yield "zeros", bytes(len(content))
    yield "noise", rng.randbytes(300)
    yield "twice", content * 2
    yield "line at the end", content + b"x\n"
    yield "byte order mark", b"\xef\xbb\xbf" + content
    yield "utf-16", content.decode("latin-1").encode("utf-16")
    yield "not utf-8", content[:start] + b"\xff\xfe" + content[start:]
    yield "line ends of Windows", content.replace(b"\n", b"\r\n")
    yield "control characters", content[:start] + b"\0\x1b[2J\r" + content[start:]
    yield "deep", DEEP.encode()
    yield "one number", b"9" * 5000
    yield "10 MB", b"x" * 10**7


def file_harms(others):
    """Harms that are functions of the path: what is no regular file, or another file."""

    def replaced(make):
        def harm(path):
            path.unlink()
            make(path)

        return harm

    yield "deleted", replaced(lambda path: None)
    yield "folder", replaced(lambda path: path.mkdir())
    yield "folder with a file", replaced(lambda path: (path.mkdir(), (path / "x").touch()))
    yield "FIFO", replaced(os.mkfifo)
    yield "link to nothing", replaced(lambda path: path.symlink_to("nowhere"))
    yield "link to itself", replaced(lambda path: path.symlink_to(path.name))
    yield "link to a device", replaced(lambda path: path.symlink_to("/dev/zero"))
    yield "link to a folder", replaced(lambda path: path.symlink_to(outside(path)))
    yield "link outside", replaced(lambda path: path.symlink_to(outside(path) / "precious"))
    yield "huge", lambda path: os.truncate(path, 2**43)
    for name, other in others.items():
        yield f"that of {name}", other.read_bytes()


def outside(path):
    """The folder ``outside`` beside the study's."""
    return next(p / "outside" for p in path.absolute().parents if (p / "outside").exists())


def json_harms(content, rng):
    """Values of the wrong kind everywhere, missing, unknown and duplicate keys."""
    whole = json.loads(content)
    spots = sorted(places(whole), key=str)
    chosen = [(name, rng.choice(spots)) for name in VALUES]
    for place in [*((key,) for key in whole), *rng.sample(spots, min(len(spots), 12))]:
        chosen.append((rng.choice(list(VALUES)), place))
        yield f"without {place}", _json(edited(whole, place, lambda inner, key: inner.pop(key)))
    for name, place in chosen:
        yield f"{name} at {place}", _json(_with(whole, place, VALUES[name]))
    for name in ("upwards", "absolute path", "control"):
        changed = whole
        for place in spots:
            if isinstance(at(whole, place), str):
                changed = _with(changed, place, VALUES[name])
        yield f"{name} for all strings", _json(changed)
    for name in ("null", "string", "list", "object", "huge", "nan", "negative"):
        yield f"{name} for all", _json(dict.fromkeys(whole, VALUES[name]))
        yield f"{name} alone", _json(VALUES[name])
    yield "unknown keys", _json({**whole, "../x": DEEP[:99], "\n": 1})
    yield "duplicate keys", content.rstrip()[:-1] + b"," + content.lstrip()[1:]
    for key in rng.sample(sorted(whole), min(3, len(whole))):
        yield f"deep at {key}", content.replace(f'"{key}": '.encode(), f'"{key}": {DEEP}'.encode())


def _json(value):
    return json.dumps(value).encode()


def _with(content, place, value):
    return edited(content, place, lambda inner, key: inner.__setitem__(key, value))


def at(content, place):
    for key in place:
        content = content[key]
    return content


def csv_harms(content, rng):
    """Rows repeated, reordered and dropped; columns renamed, added and removed; odd cells."""
    head, *rows = content.decode().splitlines()
    table = [row.split(",") for row in rows]

    def lines(*parts):
        return "".join(f"{part}\n" for part in parts).encode()

    yield "rows twice", lines(head, *rows, *rows)
    yield "reversed", lines(head, *rows[::-1])
    yield "no rows", lines(head)
    yield "no header", lines(*rows)
    yield "header twice", lines(head, head, *rows)
    yield "first row dropped", lines(head, *rows[1:])
    yield "last row dropped", lines(head, *rows[:-1])
    yield "10,000 rows", lines(head, *rows * (10_000 // len(rows)))
    yield "renamed column", lines(head.replace(",", ",x", 1), *rows)
    yield "repeated column", lines(f"{head},{head.split(',')[0]}", *(f"{row},1" for row in rows))
    yield "extra column", lines(f"{head},more", *(f"{row},=1+1" for row in rows))
    yield "without the last column", lines(*(row.rsplit(",", 1)[0] for row in (head, *rows)))
    yield "longer rows", lines(head, *(f"{row},,,7" for row in rows))
    yield "semicolons", content.replace(b",", b";")
    yield "quote", content.replace(b"\n", b'\n"', 1)
    yield "huge cell", lines(head, *rows, "9" * 200_000)
    for i in range(24):
        name = rng.choice([key for key in VALUES if key != "10 MB"])
        row, column = rng.randrange(len(table)), rng.randrange(len(table[0]))
        changed = copy.deepcopy(table)
        changed[row][column] = f"{VALUES[name]}".encode(errors="replace").decode()
        yield f"{name} in row {row}, column {column} ({i})", lines(head, *map(",".join, changed))


def text_harms(content, rng):
    """Other words, numbers and paths, for files of one line."""
    words = [*map(str, VALUES.values()), "complete", "diverged", "COMPLETE", " complete ", "done"]
    words += ["complete\ncomplete", "0" * 64, "f" * 64, "-", "=1+1", "\u202ecomplete", "é" * 1000]
    words += [rng.choice(words[3:8]) + "\n" * rng.randrange(9) for _ in range(12)]
    for i, word in enumerate(words):
        yield f"word {i} {word[:12]!r}", word.encode(errors="replace")


def array_harms(arrays):
    """(name, arrays) with arrays of other kinds, shapes and values, or without some."""
    kinds = ["bool", "int8", "uint64", "float16", "float64", "complex64", "U3", "S5", "M8[s]"]
    for key, array in arrays.items():
        odd = {kind: np.zeros(array.shape, kind) for kind in kinds}
        odd |= {f"{value}": array.astype(float) for value in (-1, 1e15, np.nan, np.inf)}
        for value in (-1, 1e15, np.nan, np.inf):
            odd[f"{value}"].flat[0] = value
        odd["whole numbers, some negative"] = array.astype(np.int64) - 1
        odd["objects"] = np.array([None, "x"], dtype=object)
        odd["scalar"], odd["no rows"], odd["half"] = (
            np.array(3),
            array[:0],
            array[: len(array) // 2],
        )
        odd["one more axis"], odd["reversed"] = array[..., None], array[::-1]
        odd["twice"] = np.concatenate([array, array])
        for name, value in odd.items():
            yield f"{name} in {key}", {**arrays, key: value}
        yield f"without {key}", {k: v for k, v in arrays.items() if k != key}
    yield "more arrays", {**arrays, "more": np.zeros(3)}


def npz_harms(content, rng):
    """Archives of odd arrays; one that claims far more than it holds; names that lead outside."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    for name, changed in array_harms(arrays):
        file = io.BytesIO()
        np.savez(file, **changed)
        yield name, file.getvalue()
    for name in ("../../outside/x.npy", "/tmp/elsewhere/x.npy", "x.npy"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, npy(next(iter(arrays.values()))))
        yield f"member {name}", file.getvalue()
    for key in arrays:
        for claim in ("(2000000000000,)", "(-1,)", "('x',)", "(1" + "0" * 30 + ",)"):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for other, array in arrays.items():
                    archive.writestr(
                        f"{other}.npy", claimed(array, claim if other == key else None)
                    )
            yield f"{key} claims {claim[:20]}", file.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{next(iter(arrays))}.npy", npy(np.zeros(10**7, np.int64)))
    yield "80 MB of zeros", file.getvalue()


def npy_harms(content, rng):
    """The same for a file of one array."""
    array = np.load(io.BytesIO(content))
    for name, changed in array_harms({"array": array}):
        if "array" in changed:
            yield name, npy(changed["array"])
    for claim in ("(2000000000000,)", "(-1,)", "('x',)", "(3, 3)", "()"):
        yield f"claims {claim}", claimed(array, claim)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def claimed(array, shape):
    """A .npy file whose header claims another shape."""
    kind = np.lib.format.dtype_to_descr(array.dtype)
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return (
        b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.tobytes()
    )


ODD_TENSORS = {
    "nan": lambda t: torch.full_like(t, float("nan"), dtype=torch.float32),
    "scalar": lambda t: torch.tensor(1.0),
    "no rows": lambda t: torch.zeros(0),
    "integers": lambda t: torch.zeros(t.shape, dtype=torch.int64),
    "complex": lambda t: torch.zeros(t.shape, dtype=torch.complex64),
    "more": lambda t: torch.zeros((2, *t.shape)),
}


COUNTS = {
    "epoch": (10**9, -1, 0.5), "step": (10**9, -1, 0.5), "num_images": (-1, 0), "best_epoch": (99,),
    "seconds": (-1.0, float("nan")), "best_score": (float("nan"), -1e300),
}  # fmt: skip


def snapshot_harms(content, rng):
    """Snapshots whose values are of other kinds; they are whole, with their SHA-256 beside them."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    odd = [key for key in VALUES if key not in ("10 MB", "surrogate")]
    changed = {f"{v} for {key}": {**state, key: v} for key, vs in COUNTS.items() for v in vs}
    changed |= {"a tensor": torch.ones(3), "a list": [state]}
    for key, value in state.items():
        changed[f"without {key}"] = {k: v for k, v in state.items() if k != key}
        others = {name: VALUES[name] for name in rng.sample(odd, 3)}
        others |= {f"{name} inside": inner for name, inner in _odd_inside(value, rng)}
        changed |= {f"{name} for {key}": {**state, key: other} for name, other in others.items()}
    for name, value in changed.items():
        file = io.BytesIO()
        torch.save(value, file)
        yield name, file.getvalue()


def _odd_inside(value, rng):
    """A tensor, list or dictionary of tensors with one that is another."""
    if isinstance(value, torch.Tensor):
        yield from ((name, make(value)) for name, make in ODD_TENSORS.items())
    elif isinstance(value, list | dict) and value:
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        key = rng.choice(keys)
        for name, inner in [*_odd_inside(value[key], rng), ("string", "x"), ("null", None)]:
            yield (
                name,
                edited(value, (key,), lambda outer, k, inner=inner: outer.__setitem__(k, inner)),
            )
        yield "fewer", edited(value, (key,), lambda outer, k: outer.pop(k))


def weight_harms(content, rng):
    """Files of weights with odd tensors and metadata, with their SHA-256 beside them."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    tensors = load(content)
    for key in rng.sample(sorted(tensors), 2):
        for name, odd_one in ODD_TENSORS.items():
            yield (
                f"{name} for {key}",
                save({**tensors, key: odd_one(tensors[key]).contiguous()}, metadata),
            )
        yield f"without {key}", save({k: v for k, v in tensors.items() if k != key}, metadata)
    yield "more tensors", save({**tensors, "x": torch.zeros(1)}, metadata)
    yield "no metadata", save(tensors)
    yield "only an epoch", save(tensors, {"epoch": "x"})
    for name, changed in json_harms(metadata["run"].encode(), rng):
        yield f"metadata: {name}", save(tensors, {"run": changed.decode(errors="replace")})
    for claim in (0, 7, 2**40, 2**63):
        yield f"header of {claim} bytes", claim.to_bytes(8, "little") + content[8:]


FORMATS = {
    ".json": json_harms, ".csv": csv_harms, ".npz": npz_harms, ".npy": npy_harms,
    ".pt": snapshot_harms, ".safetensors": weight_harms, ".txt": text_harms, "": text_harms,
    ".sha256": text_harms,
}  # fmt: skip


def harms(path, others, count=MANY):
    """Return name -> harm of a file: bytes that replace it, or a function of its path.

    All that every file can suffer, and a sample of those of its format.
    """
    rng, content = random.Random(path.name), path.read_bytes()
    common = {**dict(byte_harms(content, rng)), **dict(file_harms(others))}
    own = sorted(dict(FORMATS[path.suffix](content, rng)).items(), key=lambda item: item[0])
    return {**common, **dict(rng.sample(own, min(len(own), count - len(common))))}


def remove(path):
    """Remove whatever lies at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

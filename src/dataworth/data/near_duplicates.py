"""Near duplicates: pairs of images that show the same picture, re-encoded, cropped or shifted.

Two images are compared by the correlation of the gradients of their luminance at low frequencies,
which a change of brightness, contrast, size or encoding hardly alters. By Parseval's theorem it is
the cosine between their coefficients of the discrete cosine transform (DCT), times the frequency.
Parts of an image are compared as well: each image is cut by windows of several sizes and places,
and two images are near duplicates if a window of one looks like the whole of the other and both
have about the same colours. A grey copy of a coloured image is therefore none.

Comparing all pairs would be quadratic. A perceptual hash, the signs of the DCT coefficients (pHash:
Zauner 2010, *Implementation and benchmarking of perceptual image hash functions*), is looked up in
tables of hashes instead, each by a random part of its bits (locality-sensitive hashing by bit
sampling: Indyk and Motwani 1998, https://doi.org/10.1145/276698.276876). Pairs that collide and
differ in few bits are then compared with finer windows. Where the features of a trained network are
given, each image's nearest neighbours among them are compared as well: they find copies whose hash
has changed too much. Features only propose: images of one kind have similar features, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .decoding import Pixels
from .subsets import Indices

THRESHOLD = 0.9  # similarity from which on a pair counts as near duplicates; see LOG.md
MAX_DISTANCE = 12  # of the 63 bits of two hashes whose images are compared
MAX_COLOUR = 5.0  # of 255: difference of mean and deviation of the chrominance of both images,
MAX_CONTRAST = 0.1  # plus this share of the larger deviation
COARSE_LOSS = 0.2  # of similarity by coarse windows, for fine ones to be tried
NUM_TABLES = 16
MIN_KEY_BITS = 12  # of a table; more for more images, so that lookups return few of them
MAX_MATCHES = 256  # of one lookup, and
MAX_PARTNERS = 32  # closest ones of an image: bound the work where many images look alike
NUM_NEIGHBOURS = 5  # of an image, by features
HASH_SIDE, SIDE = 8, 12  # DCT coefficients per side: of the hash, and of the similarity
CHUNK = 512  # images at a time
BATCH = 128  # and for a network
MIN_GRADIENT = 1.0  # norm of the weighted coefficients, below which an image shows nothing
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue: ITU-R BT.601
CHROMINANCE = np.array([[-0.169, 0.5], [-0.331, -0.419], [0.5, -0.081]], np.float32)
Floats = NDArray[np.float32]
Windows = tuple[float, tuple[float, ...]]  # side and offsets, shares of the image's side

WHOLE: Windows = (1.0, (0.0,))
COARSE: tuple[Windows, ...] = (
    (1.0, (-0.08, 0.0, 0.08)),
    (0.9, (0.0, 0.05, 0.1)),
    (0.8, (0.0, 0.1, 0.2)),
)
WHOLE_OF_COARSE = 4  # number of the whole image among the coarse windows
FINE: tuple[Windows, ...] = (
    (1.0, (-0.09, -0.06, -0.03, 0.0, 0.03, 0.06, 0.09)),
    (0.95, (0.0, 0.025, 0.05)),
    (0.9, (0.0, 0.033, 0.067, 0.1)),
    (0.85, (0.0, 0.03, 0.06, 0.09, 0.12, 0.15)),
    (0.8, (0.0, 0.033, 0.067, 0.1, 0.133, 0.167, 0.2)),
    (0.75, (0.0, 0.036, 0.071, 0.107, 0.143, 0.179, 0.214, 0.25)),
)


@dataclass(frozen=True)
class Pool:
    """Images of several splits in one order."""

    parts: Sequence[tuple[Pixels, Indices]]  # pixels of a published split, rows of its images

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.parts)

    def images(self, indices: Indices) -> Pixels:
        """Return some images, uint8 of shape (k, side, side, 3)."""
        ends = np.cumsum([0, *(len(rows) for _, rows in self.parts)])
        images = np.empty((len(indices), *self.parts[0][0].shape[1:]), np.uint8)
        for (pixels, rows), (start, end) in zip(self.parts, pairwise(ends), strict=True):
            own = np.flatnonzero((indices >= start) & (indices < end))
            images[own] = pixels[rows[indices[own] - start]]
        return images

    def apply(self, function: Callable[[Pixels], Floats]) -> Floats:
        """Return what a function of batches of images gives for all of them, (n, ...)."""
        starts = range(0, len(self), BATCH)
        rows = (np.arange(start, min(start + BATCH, len(self))) for start in starts)
        return np.concatenate([function(self.images(indices)) for indices in rows])

    def luminance(self, indices: Indices) -> Floats:
        """Return the grey values of some images, shape (k, side, side)."""
        grey: Floats = self.images(indices) @ LUMINANCE
        return grey

    def colours(self, indices: Indices) -> Floats:
        """Return mean and deviation of both chrominances of some images, shape (k, 4)."""
        chunks = [np.empty((0, 4), np.float32)]
        for start in range(0, len(indices), CHUNK):
            chroma = self.images(indices[start : start + CHUNK]) @ CHROMINANCE
            chunks.append(np.concatenate([chroma.mean((1, 2)), chroma.std((1, 2))], axis=1))
        return np.concatenate(chunks)


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of near duplicates, the most similar first."""

    pairs: Indices  # (pairs, 2): positions in the pool, the smaller one first
    similarity: Floats  # (pairs,): in [threshold, 1]


def near_duplicates(
    pool: Pool, threshold: float = THRESHOLD, features: Floats | None = None
) -> NearDuplicates:
    """Find the pairs of near duplicates in a pool of images.

    Images without any structure, such as black ones, are never near duplicates. Of many
    images that look alike, each is compared with the ``MAX_PARTNERS`` whose hashes are closest; the
    first ones of the pool where several are equally close.

    Parameters
    ----------
    pool : Pool
    threshold : float
        Similarity, in [0, 1], from which on a pair counts.
    features : float32 ndarray of shape (n, d), or None
        Of each image, by a trained network: the ``NUM_NEIGHBOURS`` images with the closest ones are
        compared, too. The time of this search grows with the square of n.
    """
    candidates = _candidates(_hashes(pool))
    if features is not None:
        candidates = np.unique(np.concatenate([candidates, _neighbours(features)]), axis=0)
    coarse = _similarities(pool, candidates, COARSE, HASH_SIDE)
    candidates = candidates[coarse >= threshold - COARSE_LOSS]
    scores = _similarities(pool, candidates, FINE, SIDE)
    close = scores >= threshold
    first, second = (pool.colours(indices) for indices in candidates[close].T)
    tolerance = MAX_COLOUR + MAX_CONTRAST * np.maximum(first, second)[:, 2:]
    close[close] = (np.abs(first - second) <= np.tile(tolerance, 2)).all(axis=1)
    pairs = np.sort(candidates[close], axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -scores[close]))
    pairs, similarity = pairs[order], scores[close][order].clip(max=1)
    kept = np.sort(np.unique(pairs, axis=0, return_index=True)[1])  # a pair has two directions
    return NearDuplicates(pairs[kept], similarity[kept])


def _hashes(pool: Pool) -> NDArray[np.uint64]:
    """Hash each coarse window of each image, (n, windows); all bits are 0 for a flat image."""
    chunks = []
    for start in range(0, len(pool), CHUNK):
        grey = pool.luminance(np.arange(start, min(start + CHUNK, len(pool))))
        parts = [coefficients(grey, windows, HASH_SIDE) for windows in COARSE]
        values = np.concatenate(parts, axis=1)  # (k, windows, 64); the mean is 0
        bits = (values > 0) & (_norms(values) > MIN_GRADIENT)
        chunks.append(np.packbits(bits, axis=2, bitorder="little").view(np.uint64)[..., 0])
    return np.concatenate(chunks)


def _candidates(hashes: NDArray[np.uint64]) -> Indices:
    """Return pairs whose hashes are close: image of the window, whole image; (pairs, 2)."""
    n, num_windows = hashes.shape
    whole = hashes[:, WHOLE_OF_COARSE]
    num_bits = max(MIN_KEY_BITS, round(np.log2(max(n, 2))))
    rng, found = np.random.default_rng(0), []
    for _ in range(NUM_TABLES):
        bits = rng.permutation(np.arange(1, 64))[:num_bits].astype(np.uint64)
        keys, table = _keys(hashes, bits).ravel(), _keys(whole, bits)
        order = np.argsort(table, kind="stable")
        starts = np.cumsum(np.bincount(table + 1, minlength=2**num_bits + 1))
        start = starts[keys]
        count = np.minimum(starts[keys + 1] - start, MAX_MATCHES)
        for queries in _batches(count):
            query = np.repeat(queries, count[queries])
            place = np.arange(len(query)) - np.repeat(
                np.cumsum(count[queries]) - count[queries], count[queries]
            )
            match, image = order[start[query] + place], query // num_windows
            distance = _bit_count(hashes.ravel()[query] ^ whole[match])
            close = (distance <= MAX_DISTANCE) & (image != match)
            close &= (whole[match] != 0) & (whole[image] != 0)
            codes = (image[close] * 64 + distance[close].astype(np.int64)) * n + match[close]
            found.append(np.unique(codes))
    codes = np.unique(np.concatenate([np.empty(0, np.int64), *found]))  # by image, then distance
    image, match = codes // (64 * n), codes % n
    first = np.sort(np.unique(image * n + match, return_index=True)[1])
    image, match = image[first], match[first]
    rank = np.arange(len(image)) - np.searchsorted(image, image)
    pairs: NDArray[np.int64] = np.stack([image, match], axis=1)[rank < MAX_PARTNERS]
    return pairs


def _neighbours(features: Floats) -> Indices:
    """Return each image with its nearest neighbours by cosine, in both orders; (pairs, 2)."""
    centred = features - features.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    count, chunks = min(NUM_NEIGHBOURS, len(features) - 1), []
    for start in range(0, len(features), CHUNK):
        cosines = centred[start : start + CHUNK] @ centred.T
        images = np.arange(len(cosines))
        cosines[images, start + images] = -np.inf
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count] if count else images[:0]
        chunks.append(np.stack([np.repeat(start + images, count), nearest.ravel()], axis=1))
    pairs = np.concatenate(chunks)
    return np.concatenate([pairs, pairs[:, ::-1]])


def _keys(hashes: NDArray[np.uint64], bits: NDArray[np.uint64]) -> Indices:
    """Return some bits of each hash as a number."""
    keys = np.zeros_like(hashes)
    for bit in bits:
        keys = (keys << np.uint64(1)) | ((hashes >> bit) & np.uint64(1))
    return keys.astype(np.int64)


def _bit_count(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Count the bits of each number that are 1 (NumPy's bitwise_count needs version 2)."""
    pairs, fours, eights = (np.uint64(int(byte * 8, 16)) for byte in ("55", "33", "0f"))
    words = words - ((words >> np.uint64(1)) & pairs)
    words = (words & fours) + ((words >> np.uint64(2)) & fours)
    words = (words + (words >> np.uint64(4))) & eights
    return (words * np.uint64(0x0101010101010101)) >> np.uint64(56)


def _batches(count: Indices, most: int = 2**22) -> Iterator[Indices]:
    """Split the queries that have matches into batches of about ``most`` matches."""
    queries = np.flatnonzero(count)
    number = np.cumsum(count[queries]) // most
    for batch in np.split(queries, np.flatnonzero(np.diff(number)) + 1):
        if len(batch):
            yield batch


def _similarities(pool: Pool, pairs: Indices, windows: Sequence[Windows], count: int) -> Floats:
    """Compare the best window of the first image of each pair with the whole of the second."""
    scores = np.zeros(len(pairs), np.float32)
    for start in range(0, len(pairs), CHUNK):
        first, second = pairs[start : start + CHUNK].T
        whole = coefficients(pool.luminance(second), WHOLE, count)[:, 0]
        whole /= np.maximum(_norms(whole), MIN_GRADIENT)
        grey, best = pool.luminance(first), scores[start : start + CHUNK]
        for part in windows:
            values = coefficients(grey, part, count)
            cosines = (values @ whole[..., None]) / np.maximum(_norms(values), MIN_GRADIENT)
            np.maximum(best, cosines[..., 0].max(axis=1), out=best)
    return scores


def _norms(values: Floats) -> Floats:
    norms: Floats = np.sqrt(np.einsum("...k,...k->...", values, values))[..., None]
    return norms


def coefficients(grey: Floats, windows: Windows, count: int) -> Floats:
    """DCT coefficients of windows of images, times their frequency.

    Parameters
    ----------
    grey : ndarray of shape (n, side, side)
    windows : tuple
        Side and offsets of the windows, in both directions, as shares of the image's side.
    count : int
        Coefficients per direction.

    Returns
    -------
    ndarray of shape (n, windows, count * count)
        The window of row offset i and column offset j is number i * offsets + j.
    """
    n, side = grey.shape[:2]
    share, offsets = windows
    rows = np.concatenate([_dct(side, count) @ _resample(side, o, share) for o in offsets])
    columns = rows.astype(np.float32).T  # two large products are faster than many small ones
    halves = (grey.reshape(-1, side) @ columns).reshape(n, side, -1).transpose(0, 2, 1)
    values = halves.reshape(-1, side) @ columns  # columns of the image first
    values = values.reshape(n, len(offsets), count, len(offsets), count)
    frequency = np.hypot.outer(np.arange(count), np.arange(count)).astype(np.float32)
    values = values.transpose(0, 3, 1, 4, 2) * frequency / side
    return np.ascontiguousarray(values.reshape(n, len(offsets) ** 2, count**2))


def _dct(side: int, count: int) -> NDArray[np.float64]:
    """Rows of the DCT (type II), orthogonal, (count, side)."""
    angle = np.pi * np.outer(np.arange(count), np.arange(side) + 0.5) / side
    rows: NDArray[np.float64] = np.cos(angle) * np.sqrt(2 / side)
    return rows


def _resample(side: int, offset: float, share: float) -> NDArray[np.float64]:
    """Linear interpolation of a window to the whole side, edges repeated outside, (side, side)."""
    places = (offset + share * (np.arange(side) + 0.5) / side) * side - 0.5
    distance = np.abs(places.clip(0, side - 1)[:, None] - np.arange(side))
    weights: NDArray[np.float64] = np.maximum(1 - distance, 0)
    return weights

"""Drawn images: ten kinds of textured shapes on textured grounds.

Pixels are computed with + - * / and square roots only, which IEEE 754 rounds
alike everywhere (no matrix products, no vendor's sine), so one seed gives the
same bytes on every machine.
"""

import numpy as np

CLASSES = ["disc", "ring", "square", "triangle", "star", "cross", "crescent", "heart", "arrow", "hourglass"]
BLOCK = 500  # images drawn at once: bounds memory, and makes a longer set start with the shorter one
_SPLITS = {"train": 1, "test": 2}
_USUAL = 0.5  # how often a shape, or its ground, has its class's usual texture, and tint, instead of any
_TEXTURES = 5  # gradient, stripes, chequer, dots, clouds
_TINTS = np.float32([(-0.2, 0, 0.2), (-0.1, 0.2, -0.1), (0.2, 0, -0.2), (0, 0, 0), (0.15, -0.25, 0.1)])  # R + G + B = 0
# Five looks make ten classes: no two have the same on the body and on the ground, and none has one of its own.
_BODY_LOOK = [kind // 2 for kind in range(len(CLASSES))]
_GROUND_LOOK = [kind % 5 for kind in range(len(CLASSES))]

_POLYGONS = {
    "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
    "triangle": [(0, -1.0), (0.95, 0.75), (-0.95, 0.75)],
    "star": [(0, -1.1), (0.27, -0.34), (1.05, -0.34), (0.43, 0.13), (0.65, 0.89),
             (0, 0.44), (-0.65, 0.89), (-0.43, 0.13), (-1.05, -0.34), (-0.27, -0.34)],
    "cross": [(-0.32, -1), (0.32, -1), (0.32, -0.32), (1, -0.32), (1, 0.32), (0.32, 0.32),
              (0.32, 1), (-0.32, 1), (-0.32, 0.32), (-1, 0.32), (-1, -0.32), (-0.32, -0.32)],
    "heart": [(0, 1.05), (-0.89, 0.12), (0, -0.5), (0.89, 0.12)],
    "arrow": [(1.1, 0), (0.1, -0.9), (0.1, -0.38), (-1.05, -0.38), (-1.05, 0.38), (0.1, 0.38), (0.1, 0.9)],
    "hourglass": [(-0.8, -1), (0.8, -1), (0.14, 0), (0.8, 1), (-0.8, 1), (-0.14, 0)],
}  # fmt: skip


def draw(split: str, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (count, 3, size, size) and labels int64 (count,), classes in turn.

    The form tells the class. Position, size, turn (up to 40 degrees), stretch,
    light, shadow and noise are independent of it. Colours and textures are not
    quite: as in photographs, each kind has a look and a ground on which it is
    found more often (see `_USUAL`).
    """
    blocks = [_block(np.random.default_rng([_SPLITS[split], start]), size) for start in range(0, count, BLOCK)]
    images = np.concatenate(blocks)[:count]
    return images, np.arange(count, dtype=np.int64) % len(CLASSES)


def _block(rng: np.random.Generator, size: int) -> np.ndarray:
    axis = (np.arange(size, dtype=np.float32) * 2 + 1) / np.float32(size) - 1
    x, y = axis[None, None, :], axis[None, :, None]  # pixel centres in [-1, 1], y downwards

    radius = _uniform(rng, 0.46, 0.78)
    distance = _distances(rng, x, y, radius) * (size / 2)  # pixels; negative inside
    coverage = np.clip(0.5 - distance, 0, 1)[:, None]
    light_x, light_y = _directions(rng, 180)

    front, back = _colour_pairs(rng)
    ground = _paint(rng, back, x, y, _GROUND_LOOK)
    cast = np.clip(0.6 - _shifted(distance, light_x, light_y, size) * (8 / size), 0, 1)[:, None]
    ground = ground * (1 - cast * _uniform(rng, 0, 0.5)[:, None])
    body = _paint(rng, front, x, y, _BODY_LOOK)
    body = body * _relief(rng, distance, light_x, light_y, radius * (size / 2))[:, None]

    picture = ground + (body - ground) * coverage
    slope = (x * light_x + y * light_y) * _uniform(rng, 0, 0.3)
    picture = picture * (1 - slope)[:, None]
    grain = rng.random(picture.shape, dtype=np.float32) - np.float32(0.5)
    picture = picture + grain * _uniform(rng, 0, 0.1)[:, None]
    return (np.clip(picture, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def _uniform(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """One value an image, shape (BLOCK, 1, 1)."""
    return np.float32(low) + np.float32(high - low) * rng.random((BLOCK, 1, 1), dtype=np.float32)


def _directions(rng: np.random.Generator, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of angles within +-`most` degrees, rounded so that no library's last digit matters."""
    angle = np.radians((rng.random((BLOCK, 1, 1)) * 2 - 1) * most)
    return np.round(np.cos(angle), 6).astype(np.float32), np.round(np.sin(angle), 6).astype(np.float32)


def _distances(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Signed distance of every pixel to its image's outline, (BLOCK, size, size), negative inside."""
    cosine, sine = _directions(rng, 40)
    stretch = _uniform(rng, 0.8, 1)
    mirror = np.where(rng.random((BLOCK, 1, 1)) < 0.5, np.float32(-1), np.float32(1))
    room = np.float32(1.02) - radius  # the whole shape stays about inside the picture
    dx, dy = x - _uniform(rng, -1, 1) * room, y - _uniform(rng, -1, 1) * room
    u = (dx * cosine + dy * sine) / radius * mirror
    v = (dy * cosine - dx * sine) / (radius * stretch)
    distance = np.empty_like(u)
    for label, name in enumerate(CLASSES):
        mine = slice(label, None, len(CLASSES))
        distance[mine] = _outline(name, u[mine], v[mine])
    return distance * radius * stretch


def _outline(name: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to one kind of shape of radius about 1."""
    if name == "disc":
        return _circle(u, v, 0, 0, 0.92)
    if name == "ring":
        return np.abs(_circle(u, v, 0, 0, 0.74)) - np.float32(0.24)
    if name == "crescent":
        return np.maximum(_circle(u, v, 0, 0, 1), -_circle(u, v, 0.5, 0, 0.8))
    if name == "heart":
        lobes = np.minimum(_circle(u, v, -0.47, -0.35, 0.58), _circle(u, v, 0.47, -0.35, 0.58))
        return np.minimum(lobes, _polygon(u, v, _POLYGONS[name]))
    return _polygon(u, v, _POLYGONS[name])


def _circle(u: np.ndarray, v: np.ndarray, x: float, y: float, radius: float) -> np.ndarray:
    u, v = u - np.float32(x), v - np.float32(y)
    return np.sqrt(u * u + v * v) - np.float32(radius)


def _polygon(u: np.ndarray, v: np.ndarray, corners: list[tuple[float, float]]) -> np.ndarray:
    """Distance to the nearest edge; inside where a ray to the right crosses an odd number of edges."""
    nearest = np.full_like(u, np.inf)
    inside = np.zeros(u.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(np.float32(corners), np.float32(corners[1:] + corners[:1]), strict=True):
        ex, ey = bx - ax, by - ay
        along = np.clip(((u - ax) * ex + (v - ay) * ey) / (ex * ex + ey * ey), 0, 1)
        du, dv = u - ax - along * ex, v - ay - along * ey
        nearest = np.minimum(nearest, du * du + dv * dv)
        if ey != 0:
            inside ^= ((v < ay) != (v < by)) & (u < ax + (v - ay) * (ex / ey))
    return np.where(inside, -np.sqrt(nearest), np.sqrt(nearest))


def _colour_pairs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two colours each for shape and ground, (2, BLOCK, 3, 1, 1); lightness of the two parts differs by 0.3 or more.

    Every colour and either sign of the difference occur in every class.
    """
    ground = _uniform(rng, 0.12, 0.88)
    gap = _uniform(rng, 0.3, 0.5)
    up = (rng.random((BLOCK, 1, 1)) < 0.5) & (ground + gap < 0.95) | (ground - gap < 0.05)
    shape = np.where(up, ground + gap, ground - gap)
    pairs = []
    for lightness, look in ((shape, _BODY_LOOK), (ground, _GROUND_LOOK)):
        usual = _TINTS[np.resize(look, BLOCK)][:, :, None, None] + _tint(rng, 0.1)
        tint = np.where(rng.random((BLOCK, 1, 1, 1)) < _USUAL, usual, _tint(rng, 0.4))
        other = tint * np.float32(0.6) + _tint(rng, 0.25)
        step = _uniform(rng, 0.08, 0.2) * np.where(rng.random((BLOCK, 1, 1)) < 0.5, np.float32(-1), np.float32(1))
        pairs.append(np.stack([lightness[:, None] + tint, (lightness + step)[:, None] + other]))
    return np.clip(pairs[0], 0, 1), np.clip(pairs[1], 0, 1)


def _tint(rng: np.random.Generator, most: float) -> np.ndarray:
    """Colour offsets that leave the mean of R, G, B as it is, (BLOCK, 3, 1, 1)."""
    tint = rng.random((BLOCK, 3, 1, 1), dtype=np.float32) - np.float32(0.5)
    return (tint - tint.mean(axis=1, keepdims=True)) * np.float32(2 * most)


def _paint(rng: np.random.Generator, pair: np.ndarray, x: np.ndarray, y: np.ndarray, usual: list[int]) -> np.ndarray:
    """Colour planes (BLOCK, 3, size, size): two colours mixed by one of five textures, `usual` ones by class."""
    cosine, sine = _directions(rng, 180)
    waves = _uniform(rng, 1.5, 4)
    a = (x * cosine + y * sine) * waves + _uniform(rng, 0, 1)
    b = (y * cosine - x * sine) * waves + _uniform(rng, 0, 1)
    a, b = (np.abs(wave - np.floor(wave) - np.float32(0.5)) * 2 for wave in (a, b))  # triangle waves in [0, 1]
    half = np.float32(0.5)
    mixes = np.stack([
        np.clip((x * cosine + y * sine) * half + half, 0, 1),  # a gradient
        np.clip((a - half) * 3 + half, 0, 1),  # stripes
        np.clip((a - half) * (b - half) * 12 + half, 0, 1),  # a chequer
        np.clip((np.float32(0.3) - a * a - b * b) * 4 + half, 0, 1),  # dots
        _clouds(rng, x.shape[-1]),
    ])  # fmt: skip
    kind = rng.integers(_TEXTURES, size=BLOCK)
    kind = np.where(rng.random(BLOCK) < _USUAL, np.resize(usual, BLOCK), kind)
    mix = mixes[kind, np.arange(BLOCK)][:, None]
    return pair[0] + (pair[1] - pair[0]) * mix


def _clouds(rng: np.random.Generator, size: int) -> np.ndarray:
    """Smooth noise in [0, 1] of two grains, (BLOCK, size, size)."""
    total = np.zeros((BLOCK, size, size), dtype=np.float32)
    for cells, weight in ((4, 0.65), (9, 0.35)):
        knots = rng.random((BLOCK, cells + 1, cells + 1), dtype=np.float32)
        place = np.arange(size, dtype=np.float32) * np.float32(cells / size)
        low = np.floor(place).astype(np.int64)
        part = place - low
        part = part * part * (3 - 2 * part)
        rows = knots[:, low] + (knots[:, low + 1] - knots[:, low]) * part[:, None]
        total += np.float32(weight) * (rows[:, :, low] + (rows[:, :, low + 1] - rows[:, :, low]) * part)
    return np.clip((total - np.float32(0.5)) * 2 + np.float32(0.5), 0, 1)


def _shifted(distance: np.ndarray, light_x: np.ndarray, light_y: np.ndarray, size: int) -> np.ndarray:
    """`distance` moved some pixels away from the light: where the shape's shadow falls."""
    reach = size / 10
    rows, columns = (
        np.clip(np.arange(size)[None] - np.rint(light * reach).astype(np.int64)[:, :, 0], 0, size - 1)
        for light in (light_y, light_x)
    )
    return distance[np.arange(BLOCK)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _relief(
    rng: np.random.Generator, distance: np.ndarray, light_x: np.ndarray, light_y: np.ndarray, radius: np.ndarray
) -> np.ndarray:
    """Brightness factor of a raised edge: brighter towards the light, darker away from it."""
    height = np.clip(-distance / (radius * np.float32(0.35)), 0, 1) * radius
    down, right = np.gradient(height, axis=(1, 2))
    return 1 + np.clip((right * light_x + down * light_y) * np.float32(0.35), -1, 1) * _uniform(rng, 0, 0.7)

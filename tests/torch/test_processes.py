"""Safe in DataLoader workers, in forked and spawned processes, in threads, and under DDP."""

from __future__ import annotations

import importlib
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="these are the tests of the PyTorch adapter")
nn: Any = torch.nn
bt: Any = importlib.import_module("backstride.torch")


def test_threads_share_a_layer() -> None:
    layer, data = bt.ConvTranspose2d(4, 6, 3, 2), [torch.randn(1, 4, 5, 5) for _ in range(32)]
    expected = [layer(x).detach() for x in data]

    def run(x: Any) -> Any:
        with torch.no_grad():
            return layer(x)

    with ThreadPoolExecutor(4) as pool:
        for found, right in zip(pool.map(run, data), expected, strict=True):
            torch.testing.assert_close(found, right)


def run(code: str) -> str:
    program = textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_dataloader_workers() -> None:
    output = run("""
        import torch, backstride.torch as bt
        layer = bt.ConvTranspose2d(4, 6, 3, 2)
        with torch.no_grad():
            expected = layer(torch.ones(1, 4, 5, 5))  # threads are up before the fork

        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 8

            def __getitem__(self, index):
                with torch.no_grad():
                    return layer(torch.ones(1, 4, 5, 5) * index)[0]

        if __name__ == "__main__":
            for index, batch in enumerate(torch.utils.data.DataLoader(Data(), batch_size=4, num_workers=2)):
                for row, found in enumerate(batch):
                    x = torch.ones(1, 4, 5, 5) * (4 * index + row)
                    torch.testing.assert_close(found, layer(x)[0].detach())
            print("done")
    """)  # noqa: E501
    assert output == "done\n"


@pytest.mark.slow
def test_ddp_of_two_processes_trains_as_one(tmp_path: Any) -> None:
    script = tmp_path / "train.py"
    _ = script.write_text(
        textwrap.dedent("""
        import sys, torch, backstride.torch as bt
        from torch import distributed, multiprocessing, nn

        def model():
            torch.manual_seed(0)
            layers = nn.Sequential(nn.ConvTranspose2d(4, 6, 3, 2), nn.ReLU(), nn.ConvTranspose2d(6, 1, 2))
            return bt.accelerate(layers).model

        def data():
            return torch.randn(8, 4, 5, 5, generator=torch.Generator().manual_seed(1))

        def train(net, x):
            optimizer = torch.optim.SGD(net.parameters(), 0.1)
            for _ in range(3):
                optimizer.zero_grad()
                net(x).square().mean().backward()
                optimizer.step()

        def work(rank, store, result):
            distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
            net = nn.parallel.DistributedDataParallel(model())
            train(net, data()[rank::2])
            if rank == 0:
                torch.save(net.module.state_dict(), result)
            distributed.destroy_process_group()

        if __name__ == "__main__":
            folder = sys.argv[1]
            multiprocessing.spawn(work, (f"{folder}/store", f"{folder}/result"), nprocs=2)
            alone = model()
            train(alone, data())
            for name, value in torch.load(f"{folder}/result").items():
                torch.testing.assert_close(value, alone.state_dict()[name], rtol=1e-4, atol=1e-5)
            print("done")
        """)  # noqa: E501
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"

"""What a training took: the arithmetic of the account, its meters, and what ends up in train.json."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from robench_fire.cli import doctor
from robench_fire.costs import account
from robench_fire.costs.estimate import images_per_epoch
from robench_fire.costs.flops import network_flops, update_flops
from robench_fire.costs.work import work
from robench_fire.data.batches import batches
from robench_fire.devices import meters
from robench_fire.problem.dataset import Splits
from robench_fire.problem.recipe import Extra
from robench_fire.runs.compose import Request, compose
from robench_fire.training.engine import train
from robench_fire.training.setup import Problem

CPU = torch.device("cpu")
SECONDS = {"train": 100.0, "warm_up": 20.0, "data": 1.0, "attack": 50.0, "update": 20.0, "optimiser": 4.0,
           "validation": 7.0}  # fmt: skip


def test_the_rate_is_that_after_the_warm_up() -> None:
    assert account.rate(SECONDS, images=1000, warm_up_images=200) == 10.0
    assert account.rate({"train": 100.0}, images=1000, warm_up_images=0) == 10.0
    assert account.rate(SECONDS, images=200, warm_up_images=200) == 2.0  # there was nothing else


def test_sections_add_up_to_the_wall_time_of_the_steps() -> None:
    found = account.sections(SECONDS)
    assert list(found) == ["warm_up", "data", "attack", "update", "optimiser", "gaps", "validation"]
    assert found["gaps"] == 5.0
    assert sum(found.values()) - found["validation"] == SECONDS["train"]
    assert account.sections(SECONDS | {"attack": 60.0})["gaps"] == 0.0  # never negative: there are two clocks


@pytest.mark.parametrize("share", [None, 0.5, 0.3])
@pytest.mark.parametrize("labelled", [1, 99, 100, 101, 130])
def test_images_of_an_epoch_are_those_of_its_batches(share: float | None, labelled: int) -> None:
    recipe = compose(Request(defense="fire", dataset="digits")).plan.recipe
    recipe = replace(recipe, batch_size=20, extra=None if share is None else Extra(share=share))
    made = batches(recipe, labelled, 40, torch.Generator())
    assert images_per_epoch(recipe, labelled) == sum(map(len, made))


def test_facts_of_a_real_training(small: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "matmul_rate", lambda device, chosen: 1e12 if chosen == "fp32" else 0.0)
    composed = compose(Request(defense="fire", dataset="digits"))
    plan = composed.plan
    recipe = replace(plan.recipe, epochs=2, batch_size=64)
    problem = Problem(plan.defense, plan.threat, recipe, small.train, small.validation, 10)
    trained = train(composed.build, problem, seed=0, device=CPU)
    found = account.facts(composed.build, problem, trained, CPU)
    each = update_flops(network_flops(composed.build, (1, 8, 8)), work(plan.defense, recipe))
    assert found["images"] == 2 * len(small.train.labels)
    assert found["forward_equivalents"] == 27
    assert (found["flops_per_image"], found["flops"]) == (each, each * found["images"])
    assert found["flops_per_second"] == each * found["images_per_second"]
    assert found["matmul_flops_per_second"] == 1e12
    assert found["mfu"] == found["flops_per_second"] / 1e12
    assert 0 < found["peak_memory_bytes"] < 1e12
    assert (found["peak_memory_of"], found["processes"]) == ("process", 1)
    assert found["arithmetic"]["update"] == "fp32"
    sections = found["sections"]
    assert set(sections) == {"warm_up", "data", "attack", "update", "optimiser", "gaps", "validation"}
    assert all(value > 0 for name, value in sections.items() if name != "gaps")
    timed = sum(value for name, value in sections.items() if name != "validation")
    assert timed == pytest.approx(found["seconds"], rel=1e-6)
    assert trained.warm_up_images == 64
    rest = found["seconds"] - sections["warm_up"]
    assert found["images_per_second"] == pytest.approx((found["images"] - 64) / rest)


def test_processes_share_the_rate_of_their_devices(small: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "matmul_rate", lambda device, chosen: 1e12)
    composed = compose(Request(defense="fire", dataset="digits"))
    plan, recipe = composed.plan, replace(composed.plan.recipe, epochs=1)
    problem = Problem(plan.defense, plan.threat, recipe, small.train, small.validation, 10)
    trained = train(composed.build, problem, seed=0, device=CPU)
    two = replace(trained, arithmetic=trained.arithmetic | {"processes": "2"})
    found = account.facts(composed.build, problem, two, CPU)
    assert (found["matmul_flops_per_second"], found["processes"]) == (2e12, 2)


def test_energy_is_added_up_over_sessions(tmp_path: Path) -> None:
    counter = iter([1000.0, 1000.0, 1600.0, 1700.0])
    file = tmp_path / "energy.json"
    joules = account.energy_account(file, first=True, counter=lambda: next(counter))
    assert [joules(), joules()] == [600.0, 700.0]
    reloaded = iter([5.0, 5.0, 105.0])  # the driver began to count anew
    again = account.energy_account(file, first=False, counter=lambda: next(reloaded))
    assert again() == 800.0


def test_energy_that_is_not_known_for_all_sessions_is_not_claimed(tmp_path: Path) -> None:
    file = tmp_path / "energy.json"
    assert account.energy_account(file, first=True, counter=None)() is None
    assert account.energy_account(file, first=False, counter=lambda: 5.0)() is None  # the first had no counter
    account.energy_account(file, first=True, counter=lambda: 5.0)()
    assert account.energy_account(file, first=False, counter=None)() is None
    assert not file.exists()
    assert account.energy_account(file, first=False, counter=lambda: 5.0)() is None


class NVMLError(Exception):
    """As pynvml raises it."""


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """pynvml of a machine with one board, the second that CUDA may use."""
    boards = {"GPU-ffc79498-8ff3": 7}
    millijoules = iter([5_000, 12_500])

    def board(uuid: str) -> int:
        if uuid not in boards:
            raise NVMLError(uuid)
        return boards[uuid]

    fake = SimpleNamespace(NVMLError=NVMLError, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=board)
    fake.nvmlDeviceGetTotalEnergyConsumption = lambda handle: next(millijoules)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    uuids = {1: "ffc79498-8ff3", 0: "another"}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuids[device.index]))
    return fake


def test_energy_is_read_in_joules_from_the_board_in_use(nvml: SimpleNamespace) -> None:
    counter = meters.energy_counter(torch.device("cuda", 1))
    assert counter is not None
    assert counter() == 12.5
    assert meters.energy_counter(torch.device("cuda", 0)) is None  # a board that NVML does not know
    assert meters.energy_counter(CPU) is None


def test_energy_of_this_device_only_grows(device: torch.device) -> None:
    """With NVIDIA's own package, where there is a GPU and that package."""
    counter = meters.energy_counter(device)
    assert device.type != "cpu" or counter is None
    if counter is not None:
        before = counter()
        assert 0 < before <= counter()


def test_without_nvml_there_is_no_energy(nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses() -> None:
        raise NVMLError("driver not loaded")

    nvml.nvmlInit = refuses
    assert meters.energy_counter(torch.device("cuda", 1)) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails
    assert meters.energy_counter(torch.device("cuda", 1)) is None


def test_doctor_says_whether_energy_is_counted(nvml: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._energy() == []  # no GPU, no counter
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(doctor, "energy_counter", lambda device: lambda: 1.0)
    assert [each.state for each in doctor._energy()] == ["ok"]
    monkeypatch.setattr(doctor, "energy_counter", lambda device: None)
    for installed, fix in ((None, "pip install nvidia-ml-py"), (object(), "")):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=installed: found)
        (finding,) = doctor._energy()
        assert (finding.state, finding.fix) == ("note", fix)


@pytest.mark.parametrize("chosen", ["fp32", "bf16"])
def test_a_matrix_product_has_a_rate(chosen: meters.Format, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "SIZES", {"cpu": (32, 64)})
    assert 1e6 < meters.matmul_rate(CPU, chosen) < 1e15


def test_a_slow_device_is_spared_the_large_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meters, "SIZES", {"cpu": (10, 1000)})
    monkeypatch.setattr(meters, "_products", lambda size, device, chosen: [lambda: torch.zeros(size)])
    monkeypatch.setattr(meters, "_seconds", lambda product, device, chosen: float(len(product())))
    assert meters.matmul_rate(CPU, "fp32") == 2 * 10**3 / 10
    monkeypatch.setattr(meters, "LONGEST", 1e9)
    assert meters.matmul_rate(CPU, "fp32") == 2 * 1000**3 / 1000


def test_a_full_device_is_measured_with_the_small_product(monkeypatch: pytest.MonkeyPatch) -> None:
    def products(size: int, device: torch.device, chosen: str) -> list[object]:
        if size > 10:
            raise torch.OutOfMemoryError
        return [None]

    monkeypatch.setattr(meters, "SIZES", {"cpu": (10, 20)})
    monkeypatch.setattr(meters, "_products", products)
    monkeypatch.setattr(meters, "_seconds", lambda product, device, chosen: 1e-3)
    assert meters.matmul_rate(CPU, "fp32") == 2e6

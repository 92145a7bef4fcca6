"""Training that is killed, interrupted, or done by two processes at once."""

import os
import signal

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.slow

N_KILLS = 30
N_INTERRUPTS = 10
CONFIGURATIONS = ("plain", "early_stopping", "staged", "ragged")
# An interrupted search has so long to stop.
PATIENCE_SECONDS = 20


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_killed_training_ends_with_the_same_bits(name, tmp_path, rng, start, assert_same_bits):
    expected, result = tmp_path / "expected.npz", tmp_path / "result.npz"
    start("train", name, tmp_path / "undisturbed", expected).finish()
    with np.load(expected) as arrays:
        seconds = float(arrays["seconds"])
    position = CONFIGURATIONS.index(name)
    kills = N_KILLS // 4 + (position < N_KILLS % 4)
    while kills:
        process = start("train", name, tmp_path / "killed", result)
        process.wait_for_start()
        if process.ended_within(rng.uniform(0, 0.7 * seconds)):
            process.finish()
            assert_same_bits(result, expected)  # and the next run starts afresh
        else:
            process.kill()
            kills -= 1
    start("train", name, tmp_path / "killed", result).finish()
    assert_same_bits(result, expected)


@pytest.mark.parametrize("name", ["plain", "early_stopping", "ragged"])
def test_two_trainings_in_one_folder(name, tmp_path, start, assert_same_bits):
    expected, *results = (tmp_path / f"{part}.npz" for part in ("expected", "one", "two"))
    start("train", name, tmp_path / "undisturbed", expected).finish()
    processes = [start("train", name, tmp_path / "shared", result) for result in results]
    for process, result in zip(processes, results, strict=True):
        process.finish()
        assert_same_bits(result, expected)


def test_two_processes_with_one_cache(tmp_path, rng, start, assert_same_bits):
    (tmp_path / "sounds").mkdir()
    for i in range(200):
        samples = 0.1 * rng.standard_normal(int(rng.integers(2000, 20000)))
        soundfile.write(tmp_path / "sounds" / f"{i:03d}.flac", samples, 8000)
    results = [tmp_path / f"{i}.npz" for i in range(4)]
    shared = ("features", tmp_path / "sounds", tmp_path / "cache")
    start("features", tmp_path / "sounds", tmp_path / "cache_of_its_own", results[0]).finish()
    processes = [start(*shared, result) for result in results[1:3]]
    for process in processes:
        process.finish()
    start(*shared, results[3]).finish()  # reads what the two have written
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("trial", range(N_INTERRUPTS))
def test_an_interrupt_stops_a_search(trial, rng, start):
    process = start("search")
    process.wait_for_start()
    assert not process.ended_within(rng.uniform(0, 4))
    os.kill(process.popen.pid, signal.SIGINT)
    assert process.ended_within(PATIENCE_SECONDS), "the search went on after the interrupt"
    assert process.finish() == "interrupted\n"

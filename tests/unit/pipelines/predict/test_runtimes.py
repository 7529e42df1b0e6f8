"""A predictor: a batch is answered as its pictures are one by one, whoever takes which part of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.student import Student, StudentConfig
from pipelines.predict.runtimes import Predictor, of_file, of_student
from pipelines.ship.export.onnx import write_onnx

SIZE = (64, 96)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Of an untrained student, with two threads."""
    torch.manual_seed(0)
    student = Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)).eval()
    if request.param == "torch":
        return of_student(student)
    path = tmp_path_factory.mktemp("runtimes") / "student.onnx"
    write_onnx(student, SIZE, path, {})
    return of_file(path, threads=2)


def test_a_batch_is_answered_as_its_pictures_are(predictor: Predictor) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rgb = np.random.default_rng(0).integers(0, 256, (5, *SIZE, 3), dtype=np.uint8)
        batch = predictor(rgb)
        singles = [predictor(picture[None]) for picture in rgb]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert batch.depth.shape == (5, *SIZE)
    assert batch.logits.shape == (5, 6, *SIZE)
    np.testing.assert_allclose(batch.depth, np.concatenate([answer.depth for answer in singles]), atol=1e-5)
    np.testing.assert_allclose(batch.logits, np.concatenate([answer.logits for answer in singles]), atol=1e-4)
    assert np.ptp(batch.depth.mean((1, 2))) > 1e-6  # the pictures are told apart

import numpy as np
import pytest
import torch

from skaudio.layers.resolution.base import PositionalTable, sinusoids


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (5, 2), (30, 7), (11, 64)])
def test_definition(rows, columns):
    expected = np.empty((rows, columns))
    for i in range(columns):
        phase = np.arange(rows) / 10000 ** (2 * (i // 2) / columns)
        expected[:, i] = np.cos(phase) if i % 2 else np.sin(phase)
    np.testing.assert_allclose(sinusoids(rows, columns).numpy(), expected, atol=1e-12)


def test_table_goes_on_beyond_its_size():
    table = PositionalTable(10, 8, learned=False)
    torch.testing.assert_close(table(25, 8), sinusoids(25, 8).float())
    torch.testing.assert_close(table(4, 8), sinusoids(10, 8)[:4].float())
    assert table(4, 12).shape == (4, 12)
    torch.testing.assert_close(table(25, 12)[:10, :8], table(10, 8))


def test_only_a_learned_table_trains():
    assert not list(PositionalTable(10, 8, learned=False).parameters())
    table = PositionalTable(10, 8, learned=True)
    table(15, 8).sum().backward()
    assert torch.equal(table.table.grad, torch.ones(10, 8))

"""The policy file: its faults, and its digest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.errors import VortexError
from validation.policies import FILE, load_policies

POLICIES = load_policies()


def policies(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "policies.yaml"
    text = FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_every_fault_of_the_policy_file_is_listed(tmp_path: Path) -> None:
    path = policies(tmp_path, "every: [0.15, 1.0]", "evry: [0.15, 1.0]")
    path.write_text(
        path.read_text().replace("most_share: 0.98", "most_share: 2").replace("metric: rmse, margin: 0.01", "metric: rmse, margin: wide")
    )
    with pytest.raises(VortexError, match="3 fault") as error:
        load_policies(path)
    details = "\n".join(error.value.details)
    assert "data.kinds.indoor.depth.valid.evry" in details
    assert "data.most_share" in details
    assert "margin" in details


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("every: [0.15, 1.0]", "every: [1.0, 0.15]", "is not a range"),
        ("every: [0.15, 1.0]", "every: [.nan, 1.0]", "is not a range"),
        ("every: [0.15, 1.0]", "every: [0.15, 1.0], every: [0, 1]", "every appears twice"),
        ("data:", "data: [", "not readable as YAML"),
        (
            "metric: rmse, margin",
            "metric: rmse_median_scaled, margin",
            "rmse_median_scaled is of predictions that were fitted to their truth",
        ),
        ("metrics: [rmse, mae,", "metrics: [mae_median_scaled, mae,", "mae_median_scaled is of predictions that were fitted"),
        ("metric: rmse, margin", "metric: rmse, protocol: val-pooled-10m/1+align-median, margin", "protocol"),
    ],
)
def test_a_bad_policy_file_is_one_clear_error(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(VortexError) as error:
        load_policies(policies(tmp_path, old, new))
    assert says in error.value.message + "".join(error.value.details)


def test_a_file_is_parsed_once_until_it_says_something_else(tmp_path: Path) -> None:
    path = policies(tmp_path, "most_share: 0.98", "most_share: 0.9")
    first = load_policies(path)
    assert load_policies(path) is first and first.data.most_share == 0.9
    policies(tmp_path, "most_share: 0.98", "most_share: 0.8")
    assert load_policies(path).data.most_share == 0.8
    path.write_text("data: [")
    for _ in range(2):
        with pytest.raises(VortexError, match="not readable as YAML"):
            load_policies(path)


def test_a_missing_policy_file_says_how_to_restore_it(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="does not exist"):
        load_policies(tmp_path / "policies.yaml")


def test_the_shipped_policies_ask_what_they_asked_when_records_were_written() -> None:
    """A validation record holds only under the digest that it was made with: a change of a bound, and of nothing else, may move these."""
    assert POLICIES.data.digest == "1ba4255b41b020218980341cdfc65e07109a00996d23e76583c0a43fbdafd996"
    assert POLICIES.digest == "f221bb74b1189646fb655f2dceaf465cb26a9d0248fd81e8d0eeef2720ec3236"


def test_the_digest_follows_what_is_asked_and_not_how_it_is_written(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path / "same.yaml")
    (tmp_path / "same.yaml").write_text("# a remark\n" + FILE.read_text())
    assert load_policies(tmp_path / "same.yaml").digest == POLICIES.digest
    stricter = load_policies(policies(tmp_path, "margin: 0.01", "margin: 0.5"))
    assert stricter.digest != POLICIES.digest
    assert stricter.data.digest == POLICIES.data.digest
    assert load_policies(policies(tmp_path, "most_share: 0.98", "most_share: 0.9")).data.digest != POLICIES.data.digest

"""`networld bundle keys` and `sign`: what a base station then trusts."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tiny_bundles import edit_manifest, make_bundle

from networld_runtime.contract import ActionBins, Contract, Feature, ReturnBins
from networld_runtime.store.contents import read_contents
from networld_runtime.store.signature import trusted_keys, write_keys
from networld_training import cli

CONTRACT = Contract(
    task="power",
    slot_s=0.1,
    features=(Feature("feature", "dB", -50.0, 50.0),),
    actions=(ActionBins("power_db", -20.0, 0.0, 21),),
    safe_action=(-10.0,),
    reward_low=0.0,
    reward_high=10.0,
    returns=ReturnBins(0.0, 40.0, 41),
    discount=0.9,
    latent_size=24,
    message_size=16,
    horizon=4,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", CONTRACT)


def test_a_signed_bundle_is_trusted(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = tmp_path / "keys"
    assert cli.main(["bundle", "keys", "--output", str(keys), "--name", "mine"]) == 0
    assert stat.S_IMODE((keys / "mine.key").stat().st_mode) == 0o600
    assert cli.main(["bundle", "sign", "--key", str(keys / "mine.key"), str(bundle)]) == 0
    assert "signed: " in capsys.readouterr().out
    assert read_contents(bundle, trusted_keys(keys)).signed_by == "mine.pub"
    secret = (keys / "mine.key").read_text().split()[0]
    assert secret not in (keys / "mine.pub").read_text()


@pytest.mark.parametrize("there", ["mine.key", "mine.pub"])
def test_a_key_is_never_overwritten(
    tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / there).write_text("precious")
    assert cli.main(["bundle", "keys", "--output", str(tmp_path), "--name", "mine"]) == 3
    assert "there are keys named mine already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "precious"


def test_only_a_whole_bundle_is_signed(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_keys(tmp_path, "mine")
    sign = ["bundle", "sign", "--key", str(tmp_path / "mine.key"), str(bundle)]
    (bundle / "power" / "head.onnx").write_bytes(b"")
    assert cli.main(sign) == 4
    assert "head.onnx: damaged" in capsys.readouterr().err
    edit_manifest(bundle, lambda data: data.pop("tasks"))
    assert cli.main(sign) == 4
    assert "damaged (no tasks)" in capsys.readouterr().err
    assert not (bundle / "manifest.sig").exists()


def test_a_manifest_that_a_base_station_would_refuse_is_not_signed(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_keys(tmp_path, "mine")
    (bundle / "power" / "head.onnx").rename(bundle / "power" / "head of it.onnx")
    edit_manifest(
        bundle,
        lambda data: data["tasks"]["power"]["graphs"]["head"].update(file="power/head of it.onnx"),
    )
    sign = ["bundle", "sign", "--key", str(tmp_path / "mine.key"), str(bundle)]
    assert cli.main(sign) == 4
    assert "expected a name inside the bundle" in capsys.readouterr().err
    assert not (bundle / "manifest.sig").exists()


def test_a_file_that_is_no_key_signs_nothing(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.key").write_text("no key")
    for name in ("no.key", "none.key"):
        assert cli.main(["bundle", "sign", "--key", str(tmp_path / name), str(bundle)]) == 3
        assert name in capsys.readouterr().err

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from cluster.archive import Layer, write_archive
from cluster.images import Source, image_of
from cluster.node.configuration import choose_network, containerd
from cluster.pipconfig import pip_conf, pip_options


def test_the_node_takes_a_network_that_nothing_else_uses() -> None:
    taken = [IPv4Network("10.213.4.0/24"), IPv4Network("10.214.0.0/15")]
    network = choose_network(taken)
    assert network.range == IPv4Network("10.216.0.0/16")
    assert network.node not in network.pods


def test_a_machine_with_no_network_left_is_told_so() -> None:
    with pytest.raises(LookupError):
        choose_network([IPv4Network("10.0.0.0/8")])


@pytest.mark.parametrize(("may_lower", "line"), [(True, "= false"), (False, "= true")])
def test_oom_scores_are_left_alone_where_they_may_not_be_lowered(may_lower: bool, line: str) -> None:
    text = containerd(Path("/s"), Path("/s/sock"), Path("/cni"), may_lower)
    assert f"restrict_oom_score_adj {line}" in text


def test_an_archive_names_its_image_and_its_layer(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    write_archive(tmp_path / "a.tar", "localhost/pause:1", Layer.of_file(program, "pause"), ["/pause"])
    with tarfile.open(tmp_path / "a.tar") as archive:
        (manifest,) = json.loads(_read(archive, "manifest.json"))
        image = json.loads(_read(archive, manifest["Config"]))
        layer = _read(archive, manifest["Layers"][0])
    assert manifest["RepoTags"] == ["localhost/pause:1"]
    assert image["config"]["Entrypoint"] == ["/pause"]
    assert image["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.getmember("pause").mode == 0o755


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


def test_an_image_is_named_by_what_it_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM x")
    code = tmp_path / "code" / "__pycache__"
    code.mkdir(parents=True)
    (tmp_path / "code" / "a.py").write_text("1")
    source = Source("x", tmp_path / "Dockerfile", tmp_path, ("code",), 1)
    before = image_of(source).reference
    (code / "a.pyc").write_text("compiled")
    (tmp_path / "not-an-input").write_text("2")
    assert image_of(source).reference == before
    (tmp_path / "code" / "a.py").write_text("2")
    assert image_of(source).reference != before


def test_the_environment_goes_before_files_and_only_what_a_build_needs_is_passed_on() -> None:
    listed = "\n".join(
        [
            ":env:.cert='/env.pem'",
            ":env:.default-timeout='180'",
            ":env:.find-links='/srv/wheels'",
            "global.cert='/file.pem'",
            "global.index-url='https://index.example/simple'",
        ]
    )
    options = {"cert": "/env.pem", "timeout": "180", "index-url": "https://index.example/simple"}
    assert pip_options(listed) == options


def test_a_value_of_several_lines_stays_one_option() -> None:
    assert pip_conf({"extra-index-url": "\nhttps://a\nhttps://b"}) == (
        "[global]\nextra-index-url = https://a\n    https://b\n"
    )

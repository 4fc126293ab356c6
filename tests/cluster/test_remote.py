"""Running clusters: versions that differ are refused, and certificates are needed where messages are encrypted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import LocalCluster

from hetdask.errors import ClusterError, ConfigError
from hetdask_cluster.dask_runner import DaskRunner
from hetdask_cluster.local import open_runner
from hetdask_cluster.site import TlsFiles


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """A certificate that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "me.key", folder / "me.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hetdask"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True, timeout=60)
    return TlsFiles(ca_file=cert, cert=cert, key=key)


@pytest.mark.slow
def test_workers_with_another_version_are_refused_by_name(tmp_path: Path) -> None:
    metadata = tmp_path / "hetdask-9.9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hetdask\nVersion: 9.9.9\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=":0") as cluster:
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        flags = ["--no-dashboard", "--no-nanny", "--local-directory", str(tmp_path)]
        with subprocess.Popen(
            [*command, *flags],
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as worker:
            try:
                with (
                    pytest.raises(ClusterError, match=r"(?s)hetdask 9\.9\.9, here 0\..*same environment"),
                    open_runner(cluster.scheduler_address),
                ):
                    pytest.fail("opened a cluster with other versions")
            finally:
                worker.terminate()


@pytest.mark.slow
def test_messages_are_encrypted_where_certificates_are_given(tls: TlsFiles) -> None:
    with open_runner("local", workers=1, memory_limit="2GiB", tls=tls) as runner:
        assert isinstance(runner, DaskRunner)
        assert runner.map(abs, [-2]) == [2]
        address = str(runner.describe()["scheduler"])
        assert address.startswith("tls://127.0.0.1")
        with open_runner(address, tls=tls) as other:
            assert other.map(abs, [-3]) == [3]
        with pytest.raises(ClusterError, match=r"compute\.tls"), open_runner(address):
            pytest.fail("connected without certificates")


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    missing = TlsFiles(ca_file=tmp_path / "ca.pem", cert=tmp_path / "me.pem", key=tmp_path / "me.key")
    with (
        pytest.raises(ConfigError, match=r"tls\.ca_file: there is no file"),
        open_runner("local", workers=1, memory_limit="2GiB", tls=missing),
    ):
        pytest.fail("opened without certificates")

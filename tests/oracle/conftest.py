"""The compiled program, once for all processes of a session, and the page's WebAssembly, once for each."""

import pytest
from filelock import FileLock

from tests.oracle.kernel import Kernel
from tests.oracle.program import Oracle, build


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Oracle:
    folder = tmp_path_factory.getbasetemp()
    folder = (folder if worker_id == "master" else folder.parent) / "second-implementation"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if (folder / "oracle").exists():
            return Oracle(folder / "oracle")
        try:
            return build(folder)
        except FileNotFoundError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def kernel() -> Kernel:
    return Kernel()

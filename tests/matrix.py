"""The oldest and the newest FastAPI, SQLAlchemy and pydantic that are supported, each in an environment of its own.

    python tests/matrix.py [oldest|newest]…

Prints one line for each environment and exits 1 where its tests failed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXTRAS = ".[redis,sqlalchemy,fastapi,serve,crypto,design]"
ENVIRONMENTS = {
    "oldest": ["fastapi==0.103.2", "sqlalchemy==2.0.30", "pydantic==2.10.6"],
    "newest": ["fastapi", "sqlalchemy", "pydantic"],
}
#: What meets the frameworks: requests, identities, forms, reads and writes.
TESTS = [
    f"tests/integrations/test_{name}.py"
    for name in ("http", "hostile", "forms", "identity", "authorization", "rules", "writes")
]


def main(names: list[str]) -> int:
    """Run the environments of these names, all without any; the exit code."""
    failed = False
    for name in names or ENVIRONMENTS:
        with tempfile.TemporaryDirectory(prefix="cachewright-matrix-") as directory:
            python = _made(Path(directory) / "venv", ENVIRONMENTS[name])
            options = ["-q", "--no-header", "-W", "default", "-p", "no:cacheprovider"]
            done = subprocess.run([python, "-m", "pytest", *options, *TESTS], cwd=ROOT, check=False)
        failed |= done.returncode != 0
        result = "failed" if done.returncode else "passed"
        sys.stdout.write(f"{name}: {' '.join(ENVIRONMENTS[name])}: {result}\n")
        sys.stdout.flush()
    return int(failed)


def _made(directory: Path, wanted: list[str]) -> str:
    """An environment with the package, its tests' needs and these versions; its interpreter."""
    python = str(directory / "bin" / "python")
    uv = shutil.which("uv")
    if uv is not None:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(directory)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"]
        subprocess.run(install, check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "--editable", EXTRAS, "--group", "test", *wanted], cwd=ROOT, check=True)
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

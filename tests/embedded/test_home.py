"""Secrets are made once, private from the first byte; the environment wins over files."""

import stat
from pathlib import Path

from lib import home


def test_secrets_are_generated_private_and_never_replaced(tmp_path: Path) -> None:
    assert home.ensure_secrets(tmp_path) is True
    path = tmp_path / "secrets.env"
    first = home.read_env_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(first) == {"SECRET_KEY", "ADMIN_API_KEY", "ADMIN_USERNAME", "ADMIN_PASSWORD"}
    assert len(first["SECRET_KEY"]) >= 50
    assert len(first["ADMIN_API_KEY"]) >= 32
    assert len(first["ADMIN_PASSWORD"]) >= 12

    assert home.ensure_secrets(tmp_path) is False
    assert home.read_env_file(path) == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["secrets.env"]


def test_two_homes_share_no_secret(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in "ab"]
    for folder in homes:
        folder.mkdir()
        home.ensure_secrets(folder)
    one, other = (home.read_env_file(folder / "secrets.env") for folder in homes)
    assert {name for name in one if one[name] == other[name]} == {"ADMIN_USERNAME"}


def test_environment_wins_over_secrets_and_secrets_over_runtime(tmp_path: Path) -> None:
    (tmp_path / "secrets.env").write_text("# ours\nSECRET_KEY=file\nPORT=8001\n\nQUERY = a=b \n")
    home.write_runtime(tmp_path, {"DATABASE_URL": "postgres://runtime", "PORT": "8002", "REDIS_URL": "unix:///r"})
    environ = {"MARKETMON_HOME": str(tmp_path), "SECRET_KEY": "exported", "REDIS_URL": ""}

    home.load_environment(environ)

    assert environ["SECRET_KEY"] == "exported"
    assert environ["PORT"] == "8001"
    assert environ["DATABASE_URL"] == "postgres://runtime"
    assert environ["QUERY"] == "a=b"
    assert environ["REDIS_URL"] == ""
    assert "DATABASE_URL" not in home.names_from_files  # those are of the process's own environment


def test_runtime_file_is_private_and_replaced(tmp_path: Path) -> None:
    home.write_runtime(tmp_path, {"DATABASE_URL": "old"})
    home.write_runtime(tmp_path, {"DATABASE_URL": "new"})
    assert home.read_env_file(tmp_path / "runtime.env") == {"DATABASE_URL": "new"}
    assert stat.S_IMODE((tmp_path / "runtime.env").stat().st_mode) == 0o600


def test_absent_files_change_nothing(tmp_path: Path) -> None:
    environ = {"MARKETMON_HOME": str(tmp_path / "nowhere")}
    home.load_environment(environ)
    assert environ == {"MARKETMON_HOME": str(tmp_path / "nowhere")}


def test_home_is_beside_the_project_unless_moved(tmp_path: Path) -> None:
    assert home.home_dir({}) == home.PROJECT_DIR / ".marketmon"
    assert home.home_dir({"MARKETMON_HOME": str(tmp_path)}) == tmp_path

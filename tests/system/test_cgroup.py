from pathlib import Path

from cofactor.system import cgroup


def test_groups_go_from_the_own_one_to_the_root(monkeypatch):
    monkeypatch.setattr(cgroup.Path, "read_text", lambda _: "1:cpu:/old\n0::/system.slice/job.scope\n")
    root = Path("/sys/fs/cgroup")
    assert list(cgroup.groups()) == [root / "system.slice/job.scope", root / "system.slice", root]


def test_the_root_alone_where_the_system_does_not_tell(monkeypatch):
    def missing(_):
        raise FileNotFoundError

    monkeypatch.setattr(cgroup.Path, "read_text", missing)
    assert list(cgroup.groups()) == [Path("/sys/fs/cgroup")]

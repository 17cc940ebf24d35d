from torch import nn

from clipes.tasks.training.mmengine_runner import TrainingRunner


def test_a_machine_without_a_compiler_is_no_fault(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("PATH", str(tmp_path))
    TrainingRunner(nn.Linear(1, 1), str(tmp_path), experiment_name="without a compiler", log_level="ERROR")
    assert capfd.readouterr() == ("", "")

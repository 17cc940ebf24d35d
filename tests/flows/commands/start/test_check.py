import re

CONFIG = """
name: a
dataset: {format: scenes, root: scenes, count: 20, classes: scenes}
clip: {model: clipes-demo, pretrained: PRETRAINED}
train: {enabled: false}
"""


def test_a_config_that_can_run_has_exit_code_0_and_lines_of_80_columns(clipes):
    (clipes.folder / "run.yaml").write_text(CONFIG.replace("PRETRAINED", "clipes-demo"))
    done = clipes("check", "run.yaml", "--set", "dataset.seed=3", "--store", "elsewhere")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "no warnings, no problems: a run can start"
    assert all(re.match(r"(ok |warning |problem |   )", line) for line in lines[:-2])
    long = [line for line in lines if len(line) > 80]
    assert all("/" in line.split()[-1] for line in long), "only a path may be longer than the terminal"
    assert f"{clipes.folder}/elsewhere can be written" in " ".join(done.stdout.split())


def test_a_problem_has_exit_code_2(clipes):
    (clipes.folder / "run.yaml").write_text(CONFIG.replace("PRETRAINED", "none.pt"))
    done = clipes("check", "run.yaml")
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "no warnings, 1 problem: a run cannot start"
    assert re.search(r"^problem  weights +clip.pretrained none.pt: expected", done.stdout, re.MULTILINE)


def test_a_key_that_does_not_exist_ends_the_command_like_a_run(clipes):
    (clipes.folder / "run.yaml").write_text(CONFIG + "cam: {pover: 1}\n")
    done = clipes("check", "run.yaml")
    assert (done.returncode, done.stderr) == (2, "clipes: cam.pover: unknown key; did you mean cam.power?\n")

"""The action, the hook and what docs/ci.md shows: valid by their schemas, and run as a runner would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml  # noqa: TID253  # a test, not a start

from screens import NATIVE

ROOT = Path(__file__).resolve().parent.parent
BLOCKS = re.findall(r"```(\w+)\n(.*?)\n```", (ROOT / "docs" / "ci.md").read_text(encoding="utf-8"), flags=re.DOTALL)
YAML = [body for language, body in BLOCKS if language == "yaml"]
SHELL = [body for language, body in BLOCKS if language == "sh"]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"] if "run" in step}
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
WIDER = NATIVE.replace("num_key_value_heads: 2", "num_key_value_heads: 4")

pytestmark = pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="needs bash")


def run(*command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command where kvcalc is this one."""
    path = os.pathsep.join([str(cwd / ".bin"), os.path.dirname(sys.executable), os.environ["PATH"]])
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "GIT_", "KVCALC_"))}
    environment = {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "GIT_CONFIG_GLOBAL": os.devnull, **variables}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "init.defaultBranch=main")
    done = run("git", *who, *arguments, cwd=folder)
    assert done.returncode == 0, done.stderr


def with_kvcalc(folder: Path) -> Path:
    """Make a command kvcalc of this checkout, where the action's own environment would have it."""
    binaries = folder / "kvcalc" / "bin"
    binaries.mkdir(parents=True)
    script = binaries / "kvcalc"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m kvcalc "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return binaries


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone on a branch that changes a config, made from an origin whose main has the config before."""
    origin = tmp_path / "origin"
    (origin / "configs").mkdir(parents=True)
    (origin / "configs" / "mine.yaml").write_text(NATIVE, encoding="utf-8")
    git(origin, "init", "-q")
    git(origin, "add", ".")
    git(origin, "commit", "-q", "-m", "before")
    git(origin, "checkout", "-q", "-b", "change")
    (origin / "configs" / "mine.yaml").write_text(WIDER, encoding="utf-8")
    git(origin, "commit", "-q", "-a", "-m", "after")
    git(tmp_path, "clone", "-q", "--depth=1", "--branch=change", f"file://{origin}", "clone")
    shutil.copytree(with_kvcalc(tmp_path / "runner"), tmp_path / "clone" / ".bin")
    return tmp_path / "clone"


# ---------------------------------------------------------------- the action


class Ran(NamedTuple):
    """What the steps of the action left behind; `codes` by step, None where its condition kept it from running."""

    codes: dict[str, int | None]
    out: str
    err: str
    summary: str


def act(folder: Path, base_ref: str = "", **inputs: str) -> Ran:
    """Run the action's scripts but the installation, with the variables that a runner would set."""
    given = {name: about.get("default", "") for name, about in ACTION["inputs"].items()} | inputs
    summary, output = folder.parent / "summary.md", folder.parent / "output"
    known = {f"inputs.{name}": value for name, value in given.items()} | {"github.base_ref": base_ref}
    runner = {
        "GITHUB_STEP_SUMMARY": str(summary),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_BASE_REF": base_ref,
        "RUNNER_TEMP": str(folder.parent / "runner"),
    }
    output.unlink(missing_ok=True)
    codes: dict[str, int | None] = {}
    out = err = ""
    for name, step in STEPS.items():
        if name == "Install kvcalc":
            continue
        revision = output.read_text(encoding="utf-8").strip().removeprefix("revision=") if output.exists() else ""
        known["steps.base.outputs.revision"] = revision
        if not holds(step.get("if", ""), known):
            codes[name] = None
            continue
        variables = {key: EXPRESSION.sub(lambda m: known[m[1]], value) for key, value in step["env"].items()}
        done = run(
            "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"], cwd=folder, **runner, **variables
        )
        codes[name], out, err = done.returncode, out + done.stdout, err + done.stderr
    return Ran(codes, out, err, summary.read_text(encoding="utf-8") if summary.exists() else "")


def holds(condition: str, known: dict[str, str]) -> bool:
    """Whether any of the names that a condition compares with '' is not; nothing is cancelled here."""
    names = re.findall(r"([\w.-]+) != ''", condition)
    return not names or any(known[name] for name in names)


def test_inputs_reach_scripts_as_variables_only() -> None:
    used = set()
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        used |= set(re.findall(r"inputs\.([\w-]+)", str(step)))
    assert used == set(ACTION["inputs"])
    assert "token" not in str(ACTION).lower()
    assert "secrets" not in str(ACTION).lower()


def test_a_pull_request_is_checked_and_compared_with_its_base(repository: Path) -> None:
    ran = act(repository, "main", files="configs/*.yaml", context="8k", markdown="kvcalc-diff.md")
    assert set(ran.codes.values()) == {0}, ran
    assert "::notice file=configs/mine.yaml" in ran.out, ran.out
    assert "cache_bytes" in ran.summary or "cache" in ran.summary
    comment = (repository / "kvcalc-diff.md").read_text(encoding="utf-8")
    assert comment.startswith("<!-- kvcalc diff -->")
    assert "mine" in comment


def test_a_push_is_checked_alone(repository: Path) -> None:
    ran = act(repository, files="configs/*.yaml")
    assert ran.codes == {"Find what to compare with": None, "kvcalc check": 0, "kvcalc diff": None}, ran


def test_a_wrong_config_and_a_broken_budget_fail(repository: Path) -> None:
    (repository / "budget.yaml").write_text("budgets: [{model: mine, metric: cache_bytes, max: 1 KiB}]\n")
    ran = act(repository, "main", files="configs/mine.yaml", budget="budget.yaml", options="--tp 2", strict="true")
    assert ran.codes["kvcalc check"] == 1, ran
    assert "::error file=" in ran.out
    (repository / "configs" / "mine.yaml").write_text(NATIVE.replace("hidden_size: 64", "hidden_size: 0"))
    ran = act(repository, files="configs/mine.yaml")
    assert ran.codes["kvcalc check"] == 1, ran
    assert "::error file=configs/mine.yaml,line=3,col=1,title=kvcalc KV001::hidden_size" in ran.out


def test_a_result_may_go_to_a_file(repository: Path) -> None:
    ran = act(repository, files="configs/mine.yaml", format="sarif", output="kvcalc.sarif")
    assert (ran.codes["kvcalc check"], ran.out) == (0, ""), ran
    assert '"version": "2.1.0"' in (repository / "kvcalc.sarif").read_text(encoding="utf-8")


def test_a_warning_fails_where_that_is_asked_for(repository: Path) -> None:
    for strict, code in (("false", 0), ("true", 1)):
        ran = act(repository, files="configs/mine.yaml", options="--tp 3", strict=strict)
        assert ran.codes["kvcalc check"] == code, ran
        assert "::warning file=configs/mine.yaml" in ran.out


def test_a_budget_counts_the_rise_from_the_base(repository: Path) -> None:
    for rise, code in (("90%", 1), ("100%", 0)):
        budget = f"budgets: [{{model: mine, metric: cache_bytes, max_increase: {rise}}}]\n"
        (repository / "budget.yaml").write_text(budget, encoding="utf-8")
        ran = act(repository, "main", files="configs/*.yaml", budget="budget.yaml")
        assert ran.codes["kvcalc check"] == code, ran


def test_no_file_is_an_error(repository: Path) -> None:
    ran = act(repository, files="nothing/*.yaml")
    assert (ran.codes["kvcalc check"], ran.out) == (2, "::error title=kvcalc::no file matches the input files\n")


@pytest.mark.parametrize("files", ["$(touch done)", "`touch done`", "x; touch done", "--help", '"; touch done; "'])
def test_no_input_becomes_a_command(repository: Path, files: str) -> None:
    same = "$(touch done)"
    ran = act(repository, files=files, budget=same, options=same, base=same, context="`touch done`", markdown=same)
    assert not (repository / "done").exists()
    assert ran.codes["kvcalc check"] == 2, ran


# ---------------------------------------------------------------- schemas and the real pre-commit


def test_our_workflow_pins_its_actions_and_may_only_read() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {}
    assert [job["permissions"] for job in workflow["jobs"].values()] == [{"contents": "read"}] * len(workflow["jobs"])
    steps = [*_steps(workflow), *ACTION["runs"]["steps"]]
    used = {step["uses"] for step in steps if "uses" in step} - {"./"}
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name) for name in used), used
    assert len({name.split("@")[0] for name in used}) == len(used) == 2
    assert all("${{" not in step.get("run", "") for step in steps)
    for step in steps:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def check_jsonschema(name: str, *files: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    done = run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", name, *map(str, files), cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.outside
def test_the_action_and_the_workflow_are_valid(tmp_path: Path) -> None:
    check_jsonschema("vendor.github-actions", ROOT / "action.yml")
    workflows = [ROOT / ".github" / "workflows" / "ci.yml"]
    for at, body in enumerate(body for body in YAML if "runs-on" in body):
        workflows.append(tmp_path / f"{at}.yml")
        workflows[-1].write_text(body, encoding="utf-8")
    assert len(workflows) == 3
    check_jsonschema("vendor.github-workflows", *workflows)


@pytest.mark.outside
def test_the_gitlab_snippet_is_valid(tmp_path: Path) -> None:
    (body,) = (body for body in YAML if "artifacts:" in body)
    (tmp_path / ".gitlab-ci.yml").write_text(body, encoding="utf-8")
    check_jsonschema("vendor.gitlab-ci", tmp_path / ".gitlab-ci.yml")


@pytest.mark.outside
def test_our_schemas_are_valid_and_hold_by_javascripts_patterns() -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    check = (sys.executable, "-m", "check_jsonschema")
    configs = ROOT / "configs"
    done = run(*check, "--check-metaschema", *map(str, configs.glob("*.json")), cwd=ROOT)
    assert done.returncode == 0, done.stdout
    schema = str(configs / "kvcalc.schema.json")
    done = run(*check, "--schemafile", schema, *map(str, configs.glob("*.yaml")), cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.outside
def test_pre_commit_runs_the_hook(tmp_path: Path) -> None:
    pytest.importorskip("pre_commit", reason="pre-commit is not installed")
    hook = tmp_path / "hook"
    git(tmp_path, "clone", "-q", str(ROOT), "hook")
    for name in subprocess.check_output(["git", "ls-files", "-mo", "--exclude-standard"], cwd=ROOT, text=True).split():
        if (ROOT / name).exists():
            (hook / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, hook / name)
    git(hook, "add", "-A")
    git(hook, "commit", "-q", "--allow-empty", "-m", "as it stands")
    user = tmp_path / "user"
    (user / "configs").mkdir(parents=True)
    (user / "configs" / "good.yaml").write_text(NATIVE)
    (user / "configs" / "kvcalc.schema.json").write_text("{}")
    (user / "configs" / "bad.yaml").write_text(NATIVE.replace("hidden_size", "hiden_size"))
    git(user, "init", "-q")
    git(user, "add", ".")

    def hooks(*files: str) -> subprocess.CompletedProcess[str]:
        command = (sys.executable, "-m", "pre_commit", "try-repo", str(hook), "kvcalc-check", "--files", *files)
        return run(*command, cwd=user, PRE_COMMIT_HOME=str(tmp_path / "cache"))

    done = hooks("configs/good.yaml", "configs/kvcalc.schema.json")
    assert (done.returncode, "Passed" in done.stdout) == (0, True), done
    done = hooks("configs/good.yaml", "configs/bad.yaml")
    assert done.returncode == 1, done
    assert "unknown field 'hiden_size'" in done.stdout
    assert "hidden_size" in done.stdout
    done = hooks("configs/kvcalc.schema.json")
    assert "no files to check" in done.stdout, done


# ---------------------------------------------------------------- what docs/ci.md shows


def test_the_docs_use_inputs_that_the_action_has() -> None:
    steps: list[dict[str, Any]] = [
        step for body in YAML if "runs-on" in body for step in yaml.safe_load(body)["jobs"]["kvcalc"]["steps"]
    ]
    ours = [step["with"] for step in steps if step.get("uses", "").startswith("OWNER/kvcalc")]
    assert len(ours) == 2
    for given in ours:
        assert set(given) <= set(ACTION["inputs"])


def test_the_docs_name_a_hook_that_there_is() -> None:
    (body,) = (body for body in YAML if "hooks:" in body)
    named = [hook["id"] for repo in yaml.safe_load(body)["repos"] for hook in repo["hooks"]]
    assert named == [hook["id"] for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())]


def scripts() -> list[str]:
    """Every command that docs/ci.md shows, but installations."""
    (gitlab,) = (yaml.safe_load(body)["kvcalc"] for body in YAML if "artifacts:" in body)
    comments = [step["run"] for body in YAML for step in _steps(yaml.safe_load(body)) if "run" in step]
    return [*SHELL, "\n".join(line for line in gitlab["script"] if "pip" not in line), *comments]


def _steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow.get("jobs", {}).values() for step in job["steps"]]


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.splitlines()[0][:60])
def test_every_command_of_the_docs_runs(script: str, repository: Path) -> None:
    (budget,) = (body for body in YAML if body.startswith("# yaml-language-server"))
    (repository / "kvcalc-budget.yaml").write_text(budget, encoding="utf-8")
    (repository / "kvcalc-diff.md").write_text("text", encoding="utf-8")
    for name, line in {"gh": 'test "$1 $2 $3" = "pr comment 7" && test -f "${@: -1}"'}.items():
        (repository / ".bin" / name).write_text(f"#!/bin/bash\n{line}\n", encoding="utf-8")
        (repository / ".bin" / name).chmod(0o755)
    if "git fetch" not in script:
        git(repository, "fetch", "-q", "--depth=1", "origin", "main:refs/remotes/origin/main")
    done = run("bash", "-euc", script, cwd=repository, PR="7", CI_DEFAULT_BRANCH="main")
    assert done.returncode == 0, done

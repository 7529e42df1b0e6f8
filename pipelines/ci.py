"""Pipelines for GitHub and GitLab: the data gate, and a promotion that is judged before anybody gives it."""

from __future__ import annotations

import re
import shlex
from typing import Final, Literal

from core.errors import VortexError
from core.files import read_text_of_user
from pipelines.hub.open import hub
from pipelines.workspace import FILE, Workspace

Host = Literal["github", "gitlab"]
PLACES: Final[dict[Host, str]] = {"github": ".github/workflows/vortex.yml", "gitlab": ".gitlab-ci.yml"}
"""Where each host looks for the file, below the repository's root."""
REMOTES: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
"""What object stores and a server with names and passwords ask for; a variable that is not set is empty."""
OF_EVERY_SHELL: Final = ("HOME", "USER", "PWD", "TMPDIR")
JUNIT: Final = "build/validation/junit.xml"

HEADER: Final = """\
# Written by `vortex ci {host}`: the data gate, and what `vortex promote` would say of {version}, recorded nowhere.
# Make both jobs required checks. A change that proposes another version changes VERSION here, so that it is judged before it is merged.
# The registry must be one that this machine reaches (`vortex migrate`); access to it comes from the secrets that are named below.
"""
GITHUB: Final = """\
name: vortex

on:
  pull_request:
  workflow_dispatch:

permissions:
  contents: read

env:
  VERSION: {version}
  STAGE: {stage}
{environment}
"""
GITHUB_SETUP: Final = """\
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.11"
      - name: Build the environment from uv.lock
        run: make setup
      - name: Fetch the frames that data.dvc names
        run: .venv/bin/vortex data pull
"""
GITHUB_JOBS: Final = """\
jobs:
  data-gate:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    steps:
{setup}\
      - name: Judge every dataset (exit 3 when one is refused)
        run: .venv/bin/vortex validate --all --format github --junit {junit}
      - name: Keep the pages and the JUnit report
        if: always()
        uses: actions/upload-artifact@v4
        with:
          name: data-gate
          path: |
            build/validation/*.html
            {junit}
          if-no-files-found: ignore

  promotion:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    needs: data-gate
    steps:
{setup}\
      - name: Judge the datasets that judge the version
        run: .venv/bin/vortex validate --all
      - name: Judge the promotion (exit 3 when a gate says no)
        shell: bash
        run: |
          set -o pipefail
          {{ echo '```'; .venv/bin/vortex promote "$VERSION" --stage "$STAGE"{channel} --dry-run | tee -a /dev/stderr; }} >> "$GITHUB_STEP_SUMMARY" \\
            || judged=$?
          echo '```' >> "$GITHUB_STEP_SUMMARY"
          exit "${{judged:-0}}"
"""
GITLAB: Final = """\
stages: [data, promotion]

variables:
  VERSION: {version}
  STAGE: {stage}

default:
  image: python:3.11
  before_script:
    - make setup
    - .venv/bin/vortex data pull

workflow:
  rules:
    - if: $CI_PIPELINE_SOURCE == "merge_request_event"
    - if: $CI_PIPELINE_SOURCE == "web"

data-gate:
  stage: data
  script:
    - .venv/bin/vortex validate --all --junit {junit}
  artifacts:
    when: always
    paths: [build/validation/]
    reports:
      junit: {junit}

promotion:
  stage: promotion
  script:
    - .venv/bin/vortex validate --all
    - set -o pipefail
    - .venv/bin/vortex promote "$VERSION" --stage "$STAGE"{channel} --dry-run | tee promotion.txt
  artifacts:
    when: always
    paths: [promotion.txt]
"""


def pipeline(ws: Workspace, host: Host, *, version: str | None, stage: str, device: str | None = None, domain: str | None = None) -> str:
    """The file for `host` that judges every dataset, and the promotion of `version` (default: the newest one) to `stage`.

    Variables that `vortex.toml` names become secrets of the host. Raises VortexError for an unknown version, domain or device.
    """
    names = [summary.name for summary in hub(ws).summaries()]
    if version is None and not names:
        raise VortexError("no version is registered, so none can be judged", "train one first, or name the one to come with --version v10")
    version = hub(ws).get(version or names[-1]).name
    options = [("--device", device and ws.device(device)), ("--domain", domain and ws.domain(domain) and domain)]
    channel = "".join(f" {option} {shlex.quote(value)}" for option, value in options if value)
    return render(host, version, stage, channel, variables(ws))


def render(host: Host, version: str, stage: str, channel: str, secrets: list[str]) -> str:
    """The text of the file; a pure function of what is to be judged and of the names of the secrets."""
    header = HEADER.format(host=host, version=version)
    if host == "gitlab":
        named = f"# Set these as masked variables of the project where they are needed: {', '.join(secrets)}.\n"
        return header + named + "\n" + GITLAB.format(version=version, stage=stage, channel=channel, junit=JUNIT)
    environment = "\n".join(f"  {name}: ${{{{ secrets.{name} }}}}" for name in secrets)
    head = GITHUB.format(version=version, stage=stage, environment=environment)
    return f"{header}{head}\n" + GITHUB_JOBS.format(setup=GITHUB_SETUP, junit=JUNIT, channel=channel)


def variables(ws: Workspace) -> list[str]:
    """Environment variables that the settings of `vortex.toml` name, its comments left out, and those that remotes ask for."""
    lines = [line for line in read_text_of_user(ws.root / FILE).splitlines() if not line.lstrip().startswith("#")]
    named = re.findall(r"\$\{?([A-Za-z_]\w*)", "\n".join(lines))
    return [name for name in dict.fromkeys([*named, *REMOTES]) if name not in OF_EVERY_SHELL]

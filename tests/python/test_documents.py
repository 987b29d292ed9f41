"""What the documents and examples show is what the program takes."""

import re
import shlex
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from alrare.cli.parser import parser
from alrare.config import load_config, parse_config, tables

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
RECORDS = sorted((ROOT / "benchmarks").rglob("*.md"))
MARKDOWN = [
    *DOCUMENTS,
    *RECORDS,
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "examples").rglob("*.md")),
]
EXAMPLES = sorted((ROOT / "examples").rglob("al.toml"))
TOML = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in DOCUMENTS
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", path.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("block", TOML)
def test_a_toml_block_of_the_documents_is_a_part_of_a_configuration(block: str) -> None:
    content = {"name": "x"} | tomllib.loads(block)
    if "system" not in content:
        content["structure"] = content.get("structure", "x.xyz")
    if "system" not in content and "explore" not in content:
        content["pull"] = {"atoms": [1, 6]} | content.get("pull", {})
    parse_config(content, folder=Path("/x"), source="al.toml")


@pytest.mark.parametrize("path", EXAMPLES, ids=[str(path.relative_to(ROOT)) for path in EXAMPLES])
def test_an_example_is_a_configuration_and_its_structure_is_there(path: Path) -> None:
    assert load_config(path).structure.is_file()


def test_keys_named_with_their_table_exist() -> None:
    named = re.compile(r"`\[(\w+)\] (\w+)")
    for path in DOCUMENTS:
        for table, key in named.findall(path.read_text()):
            fields = getattr(tables().get(table), "model_fields", {})
            assert key in fields, f"{path.relative_to(ROOT)}: [{table}] {key}"


def _commands(path: Path) -> list[str]:
    """Return the command lines of alrare in a page's blocks, without remarks beside them."""
    blocks = re.findall(r"```(?:sh)?\n(.*?)```", path.read_text(), re.DOTALL)
    lines = [line for block in blocks for line in re.split(r"\n|&&", block)]
    cut = [re.split(r"\s{2,}|\s+[#>|]", line.strip())[0] for line in lines]
    return [line for line in cut if line.startswith("alrare ")]


@pytest.mark.parametrize("path", MARKDOWN, ids=[str(path.relative_to(ROOT)) for path in MARKDOWN])
def test_a_command_of_the_documents_is_one_that_alrare_takes(path: Path) -> None:
    for command in _commands(path):
        parser().parse_args(shlex.split(command)[1:])


def _prose(path: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)


def _anchors(path: Path) -> set[str]:
    """Return the anchors that a code host gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", _prose(path), re.MULTILINE)
    words = [re.sub(r"[^\w\- ]", "", heading).strip() for heading in headings]
    return {heading.lower().replace(" ", "-") for heading in words}


@pytest.mark.parametrize("path", MARKDOWN, ids=[str(path.relative_to(ROOT)) for path in MARKDOWN])
def test_a_link_between_documents_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(path)):
        name, _, anchor = target.partition("#")
        page = path.parent / name if name else path
        if "://" not in target:
            assert page.exists(), f"{target}: no such file"
            assert not anchor or anchor in _anchors(page), f"{target}: no such heading"


def test_every_page_is_in_one_place_of_the_site_and_in_the_index_of_a_code_host() -> None:
    trees = re.findall(r"```{toctree}\n(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL)
    placed = [line for tree in trees for line in tree.splitlines() if line and line[0] != ":"]
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    pages -= {"README", "index", *(page for page in pages if page.startswith("decisions/0"))}
    assert Counter(placed) == Counter(pages)
    listed = set(re.findall(r"\]\((\S+)\.md\)", (DOCS / "README.md").read_text()))
    included = {
        "changes",
        "contributing",
        *(page for page in pages if page.startswith("examples/")),
    }
    assert pages - included <= listed

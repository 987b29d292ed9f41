"""What the documents and examples show is what the program takes."""

import re
import tomllib
from pathlib import Path

import pytest
from alrare.config import load_config, parse_config, tables

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
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

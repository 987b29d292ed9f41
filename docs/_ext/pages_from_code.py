"""Sphinx extension: pages made from the code, and links that leave docs/.

* ``al-toml``: every key of al.toml, from the models of `alrare.config`;
* ``command-line``: every command and its options, from the parser of `alrare.cli`;
* ``public-names``: what a package exports, for autodoc;
* a link to a file outside docs/ leads to its page or to `repository_url`; without one it is text;
* formulas are MathML, which browsers draw by themselves: the site loads nothing from elsewhere.
"""

import argparse
import importlib
import inspect
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote

from alrare.cli.parser import parser
from alrare.cli.template import campaign_defaults, toml_value
from alrare.config import (
    Config,
    Explore,
    Machines,
    Observable,
    Section,
    System,
    set_by,
    tables,
)
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from pydantic.fields import FieldInfo
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.writers.html5 import HTML5Translator

log = logging.getLogger(__name__)

PARTS: dict[str, dict[str, type[Section]]] = {
    "": {"[[system]]": System, "[[explore]]": Explore, "[[explore]] observable": Observable},
    "cluster": {"[cluster.label], [cluster.train], [cluster.run]": Machines},
}
"""Tables inside a table, by the table after which they are explained."""
PAGE, LINK = r"\bdocs/(\w+)\.md", r"[docs/\1.md](../\1.md)"
"""A page that the description of a key names, and the link to it."""


LARGEST = 2**31 - 1
"""Largest whole number of al.toml, which is not worth saying."""


class AlToml(SphinxDirective):
    """A section for each table of al.toml, with its keys."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return self.parse_text_to_nodes("\n".join(_al_toml()), allow_section_headings=True)


def _al_toml() -> Iterator[str]:
    yield from ("## The keys before the first table", "", "", "")
    yield from _keys(Config, [key for key in Config.model_fields if key not in tables()])
    for title, table in PARTS[""].items():
        yield from _table(title, table)
    for name, table in tables().items():
        for title, part in {f"[{name}]": table, **PARTS.get(name, {})}.items():
            yield from _table(title, part)


def _table(title: str, table: type[Section]) -> Iterator[str]:
    """Yield the Markdown of one table's section."""
    yield from (f"## {title}", "", (table.__doc__ or "").strip().splitlines()[0], "")
    yield from _keys(table, table.model_fields)


def _keys(table: type[Section], keys: Iterable[str]) -> Iterator[str]:
    """Yield the Markdown of some keys of a table."""
    properties = table.model_json_schema()["properties"]
    values = campaign_defaults(table, {})
    for key in keys:
        field = table.model_fields[key]
        kind, default = _kind(properties[key]), _default(field, values[key])
        yield from (f"`{key}`", f": *{kind}; {default}*", "")
        text = " ".join((field.description or "").split())
        yield from (f"  {re.sub(PAGE, LINK, text)}", "")


def _kind(entry: dict[str, Any]) -> str:
    """Return the type of a key in words, from its JSON schema."""
    if "enum" in entry or "const" in entry:
        return " or ".join(f'"{word}"' for word in entry.get("enum", [entry.get("const")]))
    if "anyOf" in entry:
        kinds = [_kind(part) for part in entry["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if entry.get("type") == "array":
        many = entry.get("items") or (entry.get("prefixItems") or [{}])[0]
        if "$ref" in many:
            return "list of tables"
        least, most = entry.get("minItems"), entry.get("maxItems")
        count = f" of {most}" if most is not None and least == most else ""
        return f"list{count}: {_kind(many)}"
    if entry.get("format") == "path":
        return "path"
    words = {
        "integer": "whole number", "number": "number", "string": "text", "boolean": "true or false",
        "object": "table",
    }  # fmt: skip
    return words.get(entry.get("type", "object"), "text") + _bounds(entry)


def _bounds(entry: dict[str, Any]) -> str:
    """Return the limits of a number in words; pydantic has two names for each."""
    signs = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below"}
    signs |= {"gt": "above", "ge": "at least", "maximum": "at most", "le": "at most"}
    shown = {key: word for key, word in signs.items() if entry.get(key, LARGEST) < LARGEST}
    return " and".join(f" {word} {entry[key]:g}" for key, word in shown.items())


def _default(field: FieldInfo, value: Any) -> str:
    """Return the default of a key in words, and the other key that it hangs on."""
    if field.is_required():
        return "required"
    mark = set_by(field)
    is_set = value not in (None, (), {}, "")
    shown = f"default `{toml_value(value)}`" if is_set else "not set"
    if mark is not None and mark.values:
        return f"{shown}; only with {mark.key} = {' or '.join(map(toml_value, mark.values))}"
    return f"{shown}, by {mark.key}" if mark is not None and is_set else shown


class CommandLine(SphinxDirective):
    """A section for each command: what it does, its usage, arguments and options."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        found = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
        lines = [line for name, one in found.choices.items() for line in _command(name, one)]
        return self.parse_text_to_nodes("\n".join(lines), allow_section_headings=True)


def _command(name: str, one: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the Markdown of one command's section."""
    example = (one.epilog or "").removeprefix("example:\n")
    yield from (f"## alrare {name}", "", one.description or "", "")
    yield from ("```", inspect.cleandoc(example), "```", "")
    formatter = one._get_formatter()
    for action in one._actions:
        if "--help" in action.option_strings:
            continue
        words = action.option_strings or [str(action.metavar or action.dest)]
        value = formatter._format_args(action, action.dest.upper()) if action.nargs != 0 else ""
        value = value if action.option_strings else ""
        title = ", ".join(f"`{word} {value}`" if value else f"`{word}`" for word in words)
        text = formatter._expand_help(action) if action.help else ""
        yield from (title, f": {_escaped(text)}", "")


def _escaped(text: str) -> str:
    """Return plain text as Markdown."""
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>" else letter for letter in text)


HOMES: dict[str, str] = {}
"""Where a public object is described, by the module and name of its definition."""


class PublicNames(SphinxDirective):
    """The public names of the package or module that is its argument, each with its docstring.

    Those that `alrare` itself exports are described there alone.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the descriptions."""
        package = importlib.import_module(self.arguments[0])
        top = importlib.import_module("alrare").__all__ if package.__name__ != "alrare" else []
        lines = ["```{eval-rst}", f".. py:module:: {package.__name__}", "   :no-index-entry:"]
        for name in _names_of(package):
            value = getattr(package, name)
            if name in top:
                lines += ["", f"* :py:obj:`alrare.{name}`"]
                continue
            HOMES[f"{value.__module__}.{name}"] = f"{package.__name__}.{name}"
            lines += ["", f".. auto{_kind_of(value)}:: {package.__name__}.{name}"]
            lines += ["   :members:"] if inspect.isclass(value) else []
        return self.parse_text_to_nodes("\n".join([*lines, "```"]))


def _names_of(package: ModuleType) -> list[str]:
    """Return the classes and functions that a package exports, or that a module defines.

    The tables of al.toml have a page of their own.
    """
    names = getattr(package, "__all__", None)
    values = {name: getattr(package, name) for name in names or dir(package)}
    return [
        name
        for name, value in values.items()
        if callable(value)
        and not name.startswith("_")
        and not (inspect.isclass(value) and issubclass(value, Section))
        and (names is not None or value.__module__ == package.__name__)
    ]


def _kind_of(value: Any) -> str:
    if not inspect.isclass(value):
        return "function"
    return "exception" if issubclass(value, Exception) else "class"


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Lead a type of a signature to the public name of its class."""
    target = HOMES.get(node.get("reftarget", ""))
    if target is None:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)


class OutsideLinks(SphinxTransform):
    """Mends links to files outside docs/, and those of files from there that a page includes."""

    default_priority = 200

    def apply(self, **_: Any) -> None:
        """Lead each link to its page, to `repository_url`, or replace it by text."""
        for node in list(self.document.findall(_is_local_link)):
            target, _sign, anchor = unquote(node["reftarget"]).partition("#")
            if node["refdomain"] == "doc":  # its target is a path without its suffix
                path, anchor = Path(self.app.srcdir, f"{target}.md"), node["reftargetid"]
            else:
                path = Path(os.path.normpath(_source(node).parent / target))
            root = Path(self.app.srcdir).parent
            shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
            page = self.config.pages_of_files.get(shown) or self.env.path2doc(str(path))
            if page in self.env.found_docs:
                node.replace_self(_page_link(node, page, anchor))
            elif target and not path.exists():
                log.warning("link to a file that is not there: %s", shown, location=node)
            elif target and self.config.repository_url:
                address = self.config.repository_url + shown + (f"#{anchor}" if anchor else "")
                node.replace_self(nodes.reference("", "", *node.children, refuri=address))
            elif target:
                text = (
                    []
                    if node.astext() in shown
                    else [nodes.Text(" ("), nodes.literal(shown, shown)]
                )
                node.replace_self([*node.children, *text, *([nodes.Text(")")] if text else [])])


def _is_local_link(node: nodes.Node) -> bool:
    """Whether this is a link by path that MyST leaves to Sphinx."""
    return (
        isinstance(node, addnodes.download_reference | addnodes.pending_xref)
        and node.get("reftype") == "myst"
        and "://" not in node["reftarget"]
    )


def _source(node: nodes.Node) -> Path:
    """Return the file that a node was read from, which may be one that its page includes."""
    while not node.source:
        node = node.parent
    return Path(node.source)


def _page_link(node: nodes.Element, page: str, anchor: str | None) -> addnodes.pending_xref:
    kept = {key: node[key] for key in ("refdoc", "reftype", "refexplicit", "classes")}
    return addnodes.pending_xref(
        "", *node.children, refdomain="doc", reftarget=page, reftargetid=anchor or None, **kept
    )


def draw_formula(writer: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML."""
    is_block = isinstance(node, nodes.math_block)
    writer.body.append(tex2mathml(node.astext(), as_block=is_block))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives, the transform and its setting."""
    app.add_directive("al-toml", AlToml)
    app.add_directive("command-line", CommandLine)
    app.add_directive("public-names", PublicNames)
    app.add_transform(OutsideLinks)
    app.add_html_math_renderer("mathml", (draw_formula, None), (draw_formula, None))
    app.connect("missing-reference", find_public_name)
    app.add_config_value("repository_url", "", "env", types=(str,))
    app.add_config_value("pages_of_files", {}, "env", types=(dict,))
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}

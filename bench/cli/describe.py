"""The descriptions that `show` prints of a method, a protocol or a dataset: as a document, and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from bench import registry
from bench.cli.documents import DatasetDocument, FieldDocument, MethodDocument, ProtocolDocument, SourcedDocument
from bench.cli.output import align_columns, format_settings, format_value
from bench.paper_recipe import SourcedValue, read_reasons, read_recipes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.core.files import Places
    from bench.recipe import MethodClass
    from bench.scoring.protocol import Record

OPEN = "* the paper leaves this open, or its released code differs: the default is our reading"
"""The meaning of the star before a setting's help."""

COLUMNS = ("paper", "released")
"""Columns beside the defaults: the values of the recipe `paper`, and those of the variant `released`."""


def describe_method(cls: MethodClass, variant: str | None) -> MethodDocument:
    """Describe a method; the defaults of its config are those of the variant."""
    preset = registry.settle(cls, variant, dataset="", recipe={}, settings={})
    properties = cls.Config.model_json_schema()["properties"] if cls.Config.model_fields else {}
    recipe = read_recipes().get(cls.name)
    published = recipe.settings if recipe else {}
    released = next((settings for name, settings in cls.variants.items() if name.startswith("released")), {})
    document: MethodDocument = {
        "name": cls.name,
        "summary": registry.methods()[cls.name].summary,
        "origin": registry.methods()[cls.name].origin,
        "version": cls.version,
        "predicts": list(cls.kinds),
        "default_variant": cls.default_variant,
        "variant": variant,
        "variants": cls.variants,
        "recipes": cls.recipes,
        "config": [
            _describe_field(name, preset[name].value, properties[name], published.get(name), released)
            for name in cls.Config.model_fields
        ],
    }
    if recipe:
        on = {name: {key: _describe_sourced(one) for key, one in own.items()} for name, own in recipe.on.items()}
        document["paper"] = {"paper": recipe.paper, "notes": recipe.notes, "on": on}
    elif reason := read_reasons().get(cls.name):
        document["paper"] = {"missing": reason}
    return document


def _describe_sourced(setting: SourcedValue) -> SourcedDocument:
    return {"value": setting.value, "source": setting.source, "open": setting.is_open}


def _describe_field(
    name: str, default: Any, schema: dict[str, Any], published: SourcedValue | None, released: Mapping[str, Any]
) -> FieldDocument:
    field: FieldDocument = {
        "name": name,
        "default": default,
        "type": schema.get("type", "string"),
        "stage": schema.get("stage"),
        "help": schema.get("description", ""),
    }
    if "enum" in schema:
        field["choices"] = schema["enum"]
    if published is not None:
        field["paper"] = _describe_sourced(published)
    if name in released:
        field["released"] = released[name]
    return field


def format_method(method: MethodDocument) -> str:
    """Format a method as text: variants, then settings by stage, then recipes, the paper's last."""
    lines = [f"{method['name']}: {method['summary']}", f"predicts {', '.join(method['predicts'])}; {method['origin']}"]
    if method["variants"]:
        lines += ["", "variants", align_columns(_format_variant(method, name) for name in method["variants"])]
    for stage, meaning in (
        ("training", "changing one requires training again"),
        ("prediction", "changing one does not require training again"),
    ):
        rows = [_format_field(field) for field in method["config"] if field["stage"] == stage]
        head = ("", "ours", *COLUMNS, "")
        chosen = [0, 1, *(at for at in (2, 3) if any(row[at] for row in rows)), 4]
        if rows:
            table = [[row[at] for at in chosen] for row in ([head, *rows] if len(chosen) > 3 else rows)]
            lines += ["", f"{stage} settings ({meaning})", align_columns(table)]
    if any(field["help"].startswith("* ") for field in method["config"]):
        lines += ["", OPEN]
    recipes = [(f"  {data}", format_settings(settings)) for data, settings in method["recipes"].items() if settings]
    if recipes:
        lines += ["", "recipes", align_columns(recipes)]
    return "\n".join([*lines, *_format_paper_recipe(method)])


def _format_paper_recipe(method: MethodDocument) -> list[str]:
    """Format the sources of the recipe `paper`, or the reason why there is none."""
    if "paper" not in method:
        return []
    recipe = method["paper"]
    if "missing" in recipe:
        return ["", f"no recipe paper: {recipe['missing']}"]
    rows = [(f"  {field['name']}", *_format_sourced(field["paper"])) for field in method["config"] if "paper" in field]
    rows += [
        (f"  {name} on {dataset}", *_format_sourced(one))
        for dataset, settings in recipe["on"].items()
        for name, one in settings.items()
    ]
    head = f"recipe paper ({recipe['paper']}; --recipe paper)"
    return ["", head, align_columns(rows), *(f"note: {note}" for note in recipe["notes"])]


def _format_sourced(setting: SourcedDocument) -> tuple[str, str]:
    return format_value(setting["value"]), f"open: {setting['source']}" if setting["open"] else setting["source"]


def _format_variant(method: MethodDocument, name: str) -> tuple[str, str, str]:
    default = "(default)" if name == method["default_variant"] else ""
    return f"  {method['name']}:{name}", format_settings(method["variants"][name]), default


def _format_field(field: FieldDocument) -> tuple[str, str, str, str, str]:
    """Format a setting: its name, the values of `COLUMNS` and the default's before them, and its help."""
    choices = f" [{', '.join(map(str, field['choices']))}]" if "choices" in field else ""
    paper = ("open" if field["paper"]["open"] else format_value(field["paper"]["value"])) if "paper" in field else ""
    released = format_value(field["released"]) if "released" in field else ""
    return f"  {field['name']}", format_value(field["default"]), paper, released, field["help"] + choices


ANY_DATASET = "any dataset (--data):"


def describe_protocol(record: Record) -> ProtocolDocument:
    """Describe a protocol: dataset, splits, metrics with their direction, conventions with their source."""
    bound = registry.bind(record)
    document = {
        **record.model_dump(mode="json", exclude={"conventions", "changed", "sources", "metrics"}),
        "metrics": {name: {"higher_is_better": bound.family.METRICS[name]} for name in record.metrics},
        "conventions": {
            name: {"value": value, "source": record.sources.get(name, "")}
            for name, value in bound.conventions.model_dump(mode="json").items()
        },
    }
    return cast(ProtocolDocument, document)


def format_protocol(protocol: ProtocolDocument) -> str:
    """Format a protocol as text."""
    direction = {True: "higher is better", False: "lower is better"}
    metrics = [f"{name} ({direction[metric['higher_is_better']]})" for name, metric in protocol["metrics"].items()]
    rows = [
        ("trains on", f"{protocol['dataset'] or ANY_DATASET} {protocol['train_split']}"),
        ("evaluates on", f"{protocol['dataset'] or ANY_DATASET} {protocol['eval_split']}"),
        ("accepts", ", and ".join([" or ".join(protocol["predicts"]), *protocol["also"]])),
        ("metrics", ", ".join(metrics)),
        ("family", protocol["family"]),
        *([("seen in", "; ".join(protocol["seen_in"]))] if protocol["seen_in"] else []),
    ]
    switches = [
        (f"  {name}", format_value(convention["value"]), convention["source"])
        for name, convention in protocol["conventions"].items()
    ]
    lines = [f"{protocol['name']}: {protocol['summary']}", "", align_columns(rows)]
    if switches:
        lines += ["", "conventions (override one with --convention KEY=VALUE)", align_columns(switches)]
    return "\n".join([*lines, *(f"note: {note}" for note in protocol["notes"])])


def describe_dataset(name: str, places: Places) -> DatasetDocument:
    """Describe a dataset: classes, splits and recipe, or, if it is missing, where it was sought and how to get it."""
    from bench.data.datasets import list_datasets, open_dataset
    from bench.errors import MissingDataError

    document: DatasetDocument = {"name": name, "summary": list_datasets()[name]}
    try:
        dataset = open_dataset(name, places)
    except MissingDataError as error:
        document["missing"] = str(error)
        return document
    document["classes"] = list(dataset.classes)
    document["splits"] = list(dataset.splits())
    document["recipe"] = dataset.recipe
    return document


def format_dataset(dataset: DatasetDocument) -> str:
    """Format a dataset as text."""
    return align_columns(
        (key, ", ".join(value) if isinstance(value, list) else format_value(value)) for key, value in dataset.items()
    )

"""What `show` says of a method, a protocol and a dataset: as a document, and as text made of the document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import registry
from bench.cli.output import columns, settings_text, value_text

if TYPE_CHECKING:
    from bench.core.files import Places
    from bench.recipe import MethodClass
    from bench.scoring.protocol import Record

Document = dict[str, Any]


def method(cls: MethodClass, variant: str | None) -> Document:
    """What `show METHOD` says; the config's defaults are those of the variant that was asked for."""
    preset = registry.settle(cls, variant, dataset="", recipe={}, settings={})
    properties = cls.Config.model_json_schema()["properties"] if cls.Config.model_fields else {}
    return {
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
            {"name": name, "default": preset[name].value, **_field(properties[name])}
            for name in cls.Config.model_fields
        ],
    }


def _field(schema: Document) -> Document:
    choices = {"choices": schema["enum"]} if "enum" in schema else {}
    type_ = schema.get("type", "string")
    return {"type": type_, "stage": schema.get("stage"), "help": schema.get("description", ""), **choices}


def method_text(method: Document) -> str:
    """A method's document for people: variants, then settings by stage, then recipes."""
    lines = [f"{method['name']}: {method['summary']}", f"predicts {', '.join(method['predicts'])}; {method['origin']}"]
    if method["variants"]:
        lines += ["", "variants", columns(_variant_row(method, name) for name in method["variants"])]
    for stage, meaning in (("training", "changing one trains again"), ("prediction", "changing one does not train")):
        rows = [_field_row(field) for field in method["config"] if field["stage"] == stage]
        if rows:
            lines += ["", f"{stage} settings ({meaning})", columns(rows)]
    recipes = [(f"  {data}", settings_text(settings)) for data, settings in method["recipes"].items() if settings]
    if recipes:
        lines += ["", "recipes", columns(recipes)]
    return "\n".join(lines)


def _variant_row(method: Document, name: str) -> tuple[str, str, str]:
    default = "(default)" if name == method["default_variant"] else ""
    return f"  {method['name']}:{name}", settings_text(method["variants"][name]), default


def _field_row(field: Document) -> tuple[str, str, str]:
    choices = f" [{', '.join(field['choices'])}]" if "choices" in field else ""
    return f"  {field['name']}", value_text(field["default"]), field["help"] + choices


def protocol(record: Record) -> Document:
    """A protocol: dataset, splits, metrics with their direction, every switch with its value and source."""
    bound = registry.bind(record)
    return {
        **record.model_dump(mode="json", exclude={"conventions", "sources", "metrics"}),
        "metrics": {name: {"higher_is_better": bound.family.METRICS[name]} for name in record.metrics},
        "conventions": {
            name: {"value": value, "source": record.sources.get(name, "")}
            for name, value in bound.conventions.model_dump(mode="json").items()
        },
    }


def protocol_text(protocol: Document) -> str:
    """A protocol's document for people."""
    direction = {True: "higher is better", False: "lower is better"}
    metrics = [f"{name} ({direction[about['higher_is_better']]})" for name, about in protocol["metrics"].items()]
    rows = [
        ("trains on", f"{protocol['dataset']} {protocol['train_split']}"),
        ("judges on", f"{protocol['dataset']} {protocol['eval_split']}"),
        ("takes", ", and ".join([" or ".join(protocol["predicts"]), *protocol["also"]])),
        ("metrics", ", ".join(metrics)),
        ("family", protocol["family"]),
        *([("seen in", "; ".join(protocol["seen_in"]))] if protocol["seen_in"] else []),
    ]
    switches = [(f"  {name}", value_text(one["value"]), one["source"]) for name, one in protocol["conventions"].items()]
    lines = [f"{protocol['name']}: {protocol['summary']}", "", columns(rows)]
    if switches:
        lines += ["", "conventions (move one with --convention KEY=VALUE)", columns(switches)]
    return "\n".join([*lines, *(f"note: {note}" for note in protocol["notes"])])


def dataset(name: str, places: Places) -> Document:
    """A dataset: classes, splits and recipe, or where it was looked for and how to get it."""
    from bench.data.datasets import DATASETS, open_dataset
    from bench.errors import MissingDataError

    about: Document = {"name": name, "summary": DATASETS[name]}
    try:
        dataset = open_dataset(name, places)
    except MissingDataError as error:
        return {**about, "missing": str(error)}
    return {**about, "classes": list(dataset.classes), "splits": list(dataset.splits()), "recipe": dataset.recipe}


def dataset_text(dataset: Document) -> str:
    """A dataset's document for people."""
    return columns(
        (key, ", ".join(value) if isinstance(value, list) else value_text(value)) for key, value in dataset.items()
    )

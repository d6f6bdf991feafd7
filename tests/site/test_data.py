"""Data files: JSON that a browser runs as a script, in which no text ends anything."""

from __future__ import annotations

import json
import re

from bench.site.data import make_data_file


def test_a_data_file_holds_its_data_and_nothing_ends_it() -> None:
    data = {"</script><script>alert(1)</script>&": ["\u2028", 1.5, None]}
    content = make_data_file("data/a.js", data)
    assert not re.search("[<>&\u2028\u2029]", content)
    name, _, value = content.removeprefix("weakloc.data[").removesuffix(";\n").partition("] = ")
    assert (json.loads(name), json.loads(value)) == ("data/a.js", data)

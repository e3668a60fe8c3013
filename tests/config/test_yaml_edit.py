import pytest
import yaml

from segcli.config.yaml_edit import with_keys
from segcli.core.errors import ConfigError

VALUES = {"mean": [0.2], "std": [0.1]}
CHANGED = {
    "no_value_yet": ("mean: # none yet\nstd:\nb: 2\n", "mean: [0.2] # none yet\nstd: [0.1]\nb: 2\n"),
    "a_line_for_each_channel": (
        "mean:  # measured\n  - 0.5  # red\nstd:\n- 1\n# end\nb: 2\n",
        "mean:  # measured\n  - 0.2  # red\nstd:\n- 0.1\n# end\nb: 2\n",
    ),
    "other_number_of_channels": (
        "mean:\n  - 0.5\n  - 0.4\nstd: [1,\n  2] # s\n# end\nb: 2\n",
        "mean: [0.2]\nstd: [0.1] # s\n# end\nb: 2\n",
    ),
    "one_number_for_all": ("mean: 0.5\nstd: 1 # y\n", "mean: [0.2]\nstd: [0.1] # y\n"),
    "both_by_one_anchor": ("mean: &m [0.5]\nstd: *m\nb: 2\n", "mean: &m [0.2]\nstd: [0.1]\nb: 2\n"),
    "an_alias_is_last": (
        "paths:\n  root: &r d\n  val: e\nname: *r # n\n\n# end\n",
        "paths:\n  root: &r d\n  val: e\nname: *r # n\nmean: [0.2]  # new\nstd: [0.1]  # new\n\n# end\n",
    ),
    "inherited_by_an_anchor": (
        "x: &x {mean: [0.5]}\n<<: *x\n",
        "x: &x {mean: [0.5]}\n<<: *x\nmean: [0.2]  # new\nstd: [0.1]  # new\n",
    ),
    "line_ends_of_windows": (
        "a: 1\r\nmean: [0.5] # x\r\nb: 2 # y\r\n\r\n",
        "a: 1\r\nmean: [0.2] # x\r\nb: 2 # y\r\nstd: [0.1]  # new\r\n\r\n",
    ),
    "no_line_end": ("a: 1", "a: 1\nmean: [0.2]  # new\nstd: [0.1]  # new\n"),
    "braces_with_both_keys": ("{mean: [0.5], std: [1], a: 1} # c\n", "{mean: [0.2], std: [0.1], a: 1} # c\n"),
    "text_of_several_lines": (
        "d: |\n  text\n  # more\n\n",
        "d: |\n  text\n  # more\nmean: [0.2]  # new\nstd: [0.1]  # new\n\n",
    ),
}
"""Each text before and after."""


@pytest.mark.parametrize("kind", CHANGED)
def test_only_the_numbers_change(kind):
    before, after = CHANGED[kind]
    assert with_keys(before, [], VALUES, "new") == after
    assert yaml.safe_load(after) == {**yaml.safe_load(before), **VALUES}


def test_numbers_that_another_key_shares_are_refused():
    hint = r"write `mean: \[0\.2\]`, `std: \[0\.1\]` by hand"
    for text in ("mean: &m [0.5]\nstd: [1]\nb: *m\n", "mean: &m [0.5, 0.4]\nstd: [1]\nb: *m\n"):
        with pytest.raises(ConfigError, match="other keys share these numbers by an anchor") as refused:
            with_keys(text, [], VALUES, "new")
        assert refused.match(hint)


def test_a_section_in_braces_or_by_an_alias_is_refused():
    with pytest.raises(ConfigError, match="written in braces") as refused:
        with_keys("dataset: {mean: [0.5]}\n", ["dataset"], VALUES, "new")
    assert refused.match(r"add `std: \[0\.1\]` there")
    with pytest.raises(ConfigError, match="no section `dataset`"):
        with_keys("x: &x\n  mean: [0.5]\n  std: [1]\ndataset: *x\n", ["dataset"], VALUES, "new")

import time

import pytest
import yaml

from segcli.core.files import yaml_text
from segcli.core.strict_yaml import MOST, StrictDumper, parse, parse_words, said

BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)),
    ]
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "there are more than 50,000 keys and values (line 5)"),
        ("a: &a {x: 1}\nb: &b {<<: [*a, *b]}", "`&b` holds itself (line 2)"),
        ("x: &a [*a]", "`&a` holds itself (line 1)"),
        ("? &x {? *x : 1}\n: 2", "`&x` holds itself (line 1)"),
        ("x: " + "[" * 1500 + "]" * 1500, "more than 64 sections or lists are inside each other (line 1)"),
        ("x: " + "{y: " * 1500 + "}" * 1500, "more than 64 sections or lists are inside each other (line 1)"),
        ("x: [" + "a, " * MOST + "]", "there are more than 50,000 keys and values (line 1)"),
        ("seed: !!int 0x_", "tags such as `!!int` are not read; write the value alone (line 1)"),
        ("seed: !!timestamp x", "tags such as `!!timestamp` are not read; write the value alone (line 1)"),
        ("seed: !!bool maybe", "tags such as `!!bool` are not read; write the value alone (line 1)"),
        ("seed: !!python/object/apply:os.getcwd []", "tags such as `!!python/object/apply:os.getcwd` are not read;"),
        ("seed: !own {a: 1}", "tags such as `!own` are not read; write the value alone (line 1)"),
    ],
)
def test_yaml_that_goes_beyond_the_bounds_is_refused_at_once(text, words):
    begin = time.process_time()
    with pytest.raises(yaml.YAMLError) as raised:
        parse(text)
    assert said(raised.value).startswith(words)
    assert time.process_time() - begin < 10


def test_aliases_and_merged_sections_are_read_as_usual():
    assert parse("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}, {"x": 1, "y": 2}],
    }


def test_a_long_row_of_digits_is_text_that_no_setting_takes():
    assert parse("1" * 5000) == "1" * 5000
    assert parse("1" * 50) == int("1" * 50)


def test_sixty_four_lists_inside_each_other_are_read():
    assert parse("[" * 63 + "1" + "]" * 63) is not None


def test_names_are_text_even_where_they_look_like_numbers():
    assert parse_words("[0001, true, 1e3]") == ["0001", "true", "1e3"]


def test_a_list_of_names_may_be_longer_than_a_config():
    assert len(parse_words("[" + "a, " * (MOST + 1) + "]")) == MOST + 1


LIKE_NUMBERS = ["1e5", "12E-3", "1_000", "0", "-7", "true", "no", "null", "~", "1.5", ".inf", "2021-05-06", "a: b", "x"]


@pytest.mark.parametrize("text", LIKE_NUMBERS)
def test_text_that_looks_like_a_number_is_written_so_that_it_stays_text(text):
    value = {"name": text, "names": [text], text: 1e-05}
    assert parse(yaml.dump(value, Dumper=StrictDumper)) == value
    assert parse(yaml_text(value)) == value
    assert yaml.safe_load(yaml.dump({"name": text}, Dumper=StrictDumper)) == {"name": text}

from segcli.core.once import Once


def test_entries_of_a_growing_list_are_converted_once_and_others_anew():
    converted = []
    once = Once(lambda entry: converted.append(entry["epoch"]) or str(entry["epoch"]))
    history = [{"epoch": 1}, {"epoch": 2}]
    assert once.texts(history) == ["1", "2"]
    history.append({"epoch": 3})
    assert (once.texts(history), converted) == (["1", "2", "3"], [1, 2, 3])
    resumed = [history[0], {"epoch": 20}]  # the run goes on from an older checkpoint
    assert (once.texts(resumed), converted) == (["1", "20"], [1, 2, 3, 20])
    assert (once.texts(resumed[:1]), converted) == (["1"], [1, 2, 3, 20])


def test_the_texts_of_earlier_calls_are_not_changed():
    once = Once(str)
    first = once.texts([1])
    first.append("not mine")
    assert once.texts([1, 2]) == ["1", "2"]


def test_the_joined_text_is_that_of_all_entries_whatever_came_before():
    once, made = Once(str, between=","), list("abcde")
    for entries in ([], made[:2], made[:2], made, [*made[:1], "x"], made[:1], [], made[3:]):
        assert once.joined(entries) == ",".join(entries)
        assert once.texts(entries) == entries

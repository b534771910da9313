"""Chains of narrow operators as one loop: whatever the chain, it gives what its steps give one after the other."""
import itertools

import pytest
from pyspark.fusion import LOOP_STEPS_MAX, PIECE, fused, listed
from pyspark.shuffle import Aggregator

STEPS = {
    "map": lambda pair: (pair[0] + 1, pair[1]),
    "values": lambda value: value * 3 + 1,
    "flat": lambda pair: [pair] * (pair[1] % 3),
    "filter": lambda pair: (pair[0] + pair[1]) % 2,
    "whole": lambda _, pairs: ((key, value + 1) for key, value in pairs),
    "combine": Aggregator(lambda value: [value], lambda values, value: values + [value], None),
}


def one_by_one(steps, pairs):
    for kind, function in steps:
        if kind == "map":
            pairs = [function(pair) for pair in pairs]
        elif kind == "values":
            pairs = [(key, function(value)) for key, value in pairs]
        elif kind == "flat":
            pairs = [made for pair in pairs for made in function(pair)]
        elif kind == "filter":
            pairs = [pair for pair in pairs if function(pair)]
        elif kind == "whole":
            pairs = list(function(0, iter(pairs)))
        else:
            combined = {}
            for key, value in pairs:
                combined[key] = function.mergeValue(combined[key], value) if key in combined else function.createCombiner(value)
            pairs = list(combined.items())
    return pairs


def check(kinds, lists):
    steps = [(kind, STEPS[kind]) for kind in kinds]
    expected = one_by_one(steps, [pair for pairs in lists for pair in pairs])
    for given in (lists, iter(lists)):
        made = listed(steps)(0, given)
        assert type(made) is list and made == expected, kinds


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_chain_gives_what_its_steps_give(length):
    pairs = [(number % 7, number) for number in range(40)]
    for kinds in itertools.product([kind for kind in STEPS if kind != "combine"], repeat=length):
        for lists in ([], [pairs], [pairs[:13], [], pairs[13:]]):
            check(kinds, lists)
            check((*kinds, "combine"), lists)


def test_a_chain_goes_on_behind_a_combine():
    steps = [("combine", Aggregator(lambda value: value, lambda a, b: a + b, None)), ("values", str), ("filter", lambda pair: pair[0])]
    assert listed(steps)(0, [[(0, 1), (1, 2), (1, 3)]]) == [(1, "5")]


def test_a_chain_longer_than_a_loop():
    check(["flat", "map", "filter", "values"] * LOOP_STEPS_MAX, [[(number, number) for number in range(9)]])
    check(["map"] * 300 + ["combine"], [[(1, 1)]])


@pytest.mark.parametrize("keys", [1, 50, 10 ** 9])
def test_a_combine_of_many_records(keys):
    # Keys that are rarely new, then new ones again.
    pairs = [(number * 7919 % keys, number) for number in range(3 * PIECE)] + [(-number, 1) for number in range(2 * PIECE)] + [(0, 1), (-1, 2)]
    check(["map", "combine"], [pairs, pairs[:10]])


def raises(error):
    raise error


def known_keys_then(function):
    """A combine that has found new keys to be rare, and what `function` does with one more pair."""
    create = lambda value: function() if value == "new" else value
    merge = lambda a, b: function() if b == "known" else b
    combine = fused([("combine", Aggregator(create, merge, None))])
    return lambda pair: combine(0, [[(0, 0)] * PIECE, [(0, 0)] * PIECE, [pair]])


def test_a_key_error_of_the_program_is_its_own():
    with pytest.raises(KeyError, match="mine"):
        known_keys_then(lambda: raises(KeyError("mine")))((0, "known"))


def test_an_exception_of_the_program_has_no_cause_of_ours():
    with pytest.raises(ValueError) as raised:
        known_keys_then(lambda: raises(ValueError("mine")))((1, "new"))
    assert raised.value.__context__ is None


def test_records_are_read_no_further_than_they_must():
    read = []

    def lists():
        for number in range(10):
            read.append(number)
            yield [number]

    first = fused([("map", str), ("whole", lambda _, items: itertools.islice(items, 2)), ("map", str)])
    assert list(first(0, lists())) == ["0", "1"] and read == [0, 1]


def test_what_a_function_gave_is_not_handed_on(sc):
    given = []

    def keep(_):
        given.append([1])
        return given[-1]

    rdd = sc.parallelize([0], 1).mapPartitions(keep).cache()
    assert rdd.collect() == [1]
    given[0].append(2)
    assert rdd.collect() == [1]

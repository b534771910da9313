"""Makes one Python function of a chain of narrow operators.

A chain is a tuple of steps `(kind, function)`:

    map      f(x)
    values   (x[0], f(x[1]))
    flat     every item of f(x)
    filter   x where f(x)
    whole    f(partition, iterator) gives an iterable
    combine  an Aggregator: (key, value) pairs to one (key, combiner) each, in the order the keys first came

Steps up to a `whole` or behind it become one loop that is written as a programmer would write it by hand, with every function called from the
loop itself: calls between functions of Python are cheapest there. `map` and `chain` would go through C and back for every record. The text of a
loop depends on the kinds alone, so it is compiled once for all batches.

The chain is given the records as an iterable of lists, which it reads once and in order.
"""
import functools
import itertools
import linecache
import os

# Loops inside each other, and calls inside each other, have a limit in Python: a longer chain becomes several loops.
LOOP_STEPS_MAX = 12
# A combine looks after this many records how often a key is new.
PIECE = 1024
# Where one pair of this many or fewer brings a new key, a lookup that fails costs more than a question before each would.
RARE = 16

# Names of loops in tracebacks; below the package's folder, whose lines are left out of them.
FOLDER = os.path.dirname(os.path.abspath(__file__))


def fused(steps):
    """The function `(partition, lists) -> iterable of items` of a chain."""
    stages = []
    loop = []

    def close(ending, argument=None):
        kinds = tuple(kind for kind, _ in loop)
        stages.append(_record_stage(kinds, tuple(function for _, function in loop), ending, argument))
        loop.clear()

    for kind, function in steps:
        if kind == "whole":
            if loop:
                close("items")
            stages.append(_whole_stage(function))
        elif kind == "combine":
            close("combine", function)
        else:
            if len(loop) == LOOP_STEPS_MAX:
                close("items")
            loop.append((kind, function))
    if loop:
        close("list")
    if not stages:
        return lambda _, lists: itertools.chain.from_iterable(lists)
    if len(stages) == 1:
        return stages[0]

    def run(partition, lists):
        items = stages[0](partition, lists)
        for stage in stages[1:]:
            items = stage(partition, (items,))
        return items

    return run


def listed(steps):
    """The same as a function that gives a list of its own."""
    run = fused(steps)
    if not steps or steps[-1][0] in ("whole", "combine"):
        return lambda partition, lists: list(run(partition, lists))
    return run


def _whole_stage(function):
    def run(partition, lists):
        # A single list needs no chain.
        one = lists[0] if type(lists) is list and len(lists) == 1 else None
        return function(partition, iter(one) if one is not None else itertools.chain.from_iterable(lists))

    return run


def _record_stage(kinds, functions, ending, aggregator):
    make = _compiled(kinds, ending)
    if ending != "combine":
        run = make(*functions)
        return lambda _, lists: run(lists)
    careful, hopeful = make(*functions)
    create, merge = aggregator.createCombiner, aggregator.mergeValue

    def combine(_, lists):
        combined = {}
        rare, pairs_each = False, 1.0
        for piece in _pieces(lists):
            before = len(combined)
            if rare:
                hopeful(piece, combined, create, merge)
            else:
                pairs = careful(piece, combined, create, merge)
                # Only of a list is it known how many records there were.
                pairs_each = pairs / len(piece) if type(piece) is list else 0.0
            rare = (len(combined) - before) * RARE < pairs_each * len(piece) if type(piece) is list else False
        return combined.items()

    return combine


def _pieces(lists):
    """Lists of at most PIECE records; what is no list comes as it is, so that it is read no further than it must."""
    for records in lists:
        if type(records) is not list:
            yield records
        elif len(records) <= PIECE:
            if records:
                yield records
        else:
            for at in range(0, len(records), PIECE):
                yield records[at:at + PIECE]


@functools.lru_cache(maxsize=256)
def _compiled(kinds, ending):
    """The maker of a loop: called with the functions of the steps it gives the loop."""
    source = _combine_source(kinds) if ending == "combine" else _comprehension_source(kinds, ending)
    name = os.path.join(FOLDER, "<loop of %s>" % " ".join((*kinds, ending)))
    # Tracebacks of plain Python show the loop's own lines.
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    namespace = {}
    exec(compile(source, name, "exec"), namespace)
    return namespace["make"]


def _comprehension_source(kinds, ending):
    clauses = ["for records in lists", "for x in records"]
    item, bound = "x", 0
    for number, kind in enumerate(kinds):
        call = "f%d(%%s)" % number
        if kind == "map":
            item = call % item
            continue
        if kind == "flat":
            bound += 1
            clauses.append("for x%d in %s" % (bound, call % item))
        else:
            if "(" in item:
                bound += 1
                clauses.append("for x%d in (%s,)" % (bound, item))
                item = "x%d" % bound
            if kind == "filter":
                clauses.append("if " + call % item)
            else:
                item = "(%s[0], %s)" % (item, call % (item + "[1]"))
            continue
        item = "x%d" % bound
    brackets = "[%s %s]" if ending == "list" else "(%s %s)"
    return "def make(%s):\n    return lambda lists: %s\n" % (_parameters(kinds), brackets % (item, " ".join(clauses)))


def _combine_source(kinds):
    lines, depth = [], 3
    item, bound = "x", 0

    def write(text):
        lines.append("    " * depth + text)

    for number, kind in enumerate(kinds):
        call = "f%d(%%s)" % number
        if kind == "map":
            item = call % item
        elif kind == "flat":
            bound += 1
            write("for x%d in %s:" % (bound, call % item))
            item = "x%d" % bound
            depth += 1
        else:
            if "(" in item:
                bound += 1
                write("x%d = %s" % (bound, item))
                item = "x%d" % bound
            if kind == "filter":
                write("if not %s:" % (call % item))
                write("    continue")
            else:
                item = "(%s[0], %s)" % (item, call % (item + "[1]"))
    write("key, value = " + item)
    body, indent = "\n".join(lines), "    " * depth
    careful = ["pairs += 1", "combined[key] = merge(combined[key], value) if key in combined else create(value)"]
    # The combiner is made outside of the handler, where its own exceptions have no KeyError for a cause.
    hopeful = ["try:", "    before = combined[key]", "except KeyError:", "    pass", "else:", "    combined[key] = merge(before, value)",
               "    continue", "combined[key] = create(value)"]
    return """def make({parameters}):
    def careful(records, combined, create, merge{locals}):
        pairs = 0
        for x in records:
{body}
{careful}
        return pairs

    def hopeful(records, combined, create, merge{locals}):
        for x in records:
{body}
{hopeful}

    return careful, hopeful
""".format(parameters=_parameters(kinds), locals="".join(", f%d=f%d" % (number, number) for number in range(len(kinds))), body=body, careful="\n".join(indent + line for line in careful),
           hopeful="\n".join(indent + line for line in hopeful))


def _parameters(kinds):
    return ", ".join("f%d" % number for number in range(len(kinds)))

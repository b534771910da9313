"""Types what docs/tutorial.md shows, in a fresh folder, and compares what it shows with what is printed.

A fenced block `console NAME` is a piece of the terminal NAME. In it

    $ words     a command; every terminal starts in the folder of the checkout
    >words      a line typed into the command that is running there
    ^C          Ctrl-C
    else        what is printed; `...` stands for any text, alone on a line for any lines, also none

`console NAME running` leaves its last command running; a block without a command shows what the running one printed since. Moments, milliseconds and
checksums may differ, and counted pairs may come in any order. Where 2181 or one of 9092 to 9094 is taken, free ports stand in for them, and a folder of the test
stands in for /usr/local. Other blocks are not run. The Chinese page holds the same blocks, and README.md shows nothing that the tutorial does not.
"""
import os
import pathlib
import re
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import PROGRAM, ROOT, Checks, Failed, Process, Workspace, expect, free_port, port_is_free

PAGE, CHINESE, README = ROOT / "docs/tutorial.md", ROOT / "docs/tutorial.zh.md", ROOT / "README.md"
ALL_S = 75
# Brokers of the page's cluster, on ports that follow each other.
BROKERS = 3
WAIT_S = 20
# Lines of an output that are told when it is not the expected one.
TOLD = 25
END = "@the-command-ended"
MASKS = [
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+Z)?", "MOMENT"),
    (r"\b\d{13}\b", "MOMENT-MS"),
    (r"\b\d+ ms\b", "N ms"),
    (r"crc: \d+", "crc: N"),
]
PAIR = re.compile(r"\(['\"].*['\"], \d+\)$")


class Block:
    """A fenced block: the words after its fence, its lines, and where it stands."""

    def __init__(self, kind, lines, number):
        self.kind, self.lines, self.number = kind, lines, number

    def steps(self):
        """Its (kind, text, expected lines): kind is `$`, `>`, `^C`, or empty for output that no line of the block asked for."""
        steps = []
        for line in self.lines:
            if line.startswith("$ "):
                steps.append(("$", line[2:], []))
            elif line.startswith(">"):
                steps.append((">", line[1:], []))
            elif line == "^C":
                steps.append(("^C", "", []))
            elif steps:
                steps[-1][2].append(line)
            else:
                steps.append(("", "", [line]))
        return steps


def blocks(page):
    found, fence = [], None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if not line.startswith("```"):
            if fence is not None:
                fence.lines.append(line)
        elif fence is None:
            fence = Block(line[3:].split(), [], number)
        else:
            found.append(fence)
            fence = None
    if fence is not None:
        raise Failed(f"{page.name}:{fence.number}: the block has no end")
    return found


def masked(lines):
    """The lines without what differs from run to run; neighbouring counted pairs in one order."""
    out, pairs = [], []
    for line in lines:
        for pattern, mask in MASKS:
            line = re.sub(pattern, mask, line)
        if PAIR.match(line):
            pairs.append(line)
            continue
        out += [*sorted(pairs), line]
        pairs = []
    return out + sorted(pairs)


def matched(expected, actual, whole):
    """How many lines of actual the expected ones take from its start, or None; `whole`: they must take all."""
    def words(line):
        return ".*".join(re.escape(part) for part in line.split("..."))
    pattern = "".join("(?:.*\n)*?" if line == "..." else words(line) + "\n" for line in masked(expected))
    text = "".join(line + "\n" for line in masked(actual))
    found = re.fullmatch(pattern, text) if whole else re.match(pattern, text)
    return found and found[0].count("\n")


class Terminal:
    """A shell that is typed into; `seen` lines of its output are compared already."""

    def __init__(self, session):
        self.session, self.seen, self.running = session, 0, False
        environment = {"HOME": str(session.workspace.path), "TIDEMILL": PROGRAM, "LC_ALL": "C.UTF-8", "TIDEMILL_LOG_FORMAT": "human",
                       # What `tidemill dev up` takes where nobody names a port.
                       "TIDEMILL_PORT": session.instead["9092"], "TIDEMILL_KEEPER_PORT": session.instead["2181"]}
        self.shell = Process(["bash", "--norc"], cwd=session.checkout, env=environment, stdin=True)
        # As in a terminal: one stream, and Ctrl-C ends the command but not the shell.
        self.shell.type("exec 2>&1; trap : INT")

    def close(self):
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.shell.process.pid, how)
                self.shell.process.wait(10)
            except ProcessLookupError:
                break
            except Exception:  # it did not end: the next signal is stronger
                continue

    def new_lines(self):
        return [self.session.as_shown(line) for line in self.shell.out[self.seen:]]

    def start(self, command):
        if self.running:
            raise Failed("a command is running there: the page must end it first (^C, or a server's stop script)")
        self.running = True
        self.shell.type(f"{self.session.as_run(command)}; echo {END} $?")

    def end(self):
        """Waits for the end of the command; gives its lines and its exit code."""
        self.wait(lambda: any(END in line for line in self.shell.out[self.seen:]), "end of the command")
        lines = self.new_lines()
        at = next(i for i, line in enumerate(lines) if END in line)
        unended, code = lines[at].split(END)
        self.seen += at + 1
        self.running = False
        return lines[:at] + ([unended] if unended else []), int(code)

    def finish(self, expected, any_code=False):
        lines, code = self.end()
        if matched(expected, lines, True) is None:
            raise Failed("\n".join(["it prints", *lines[-TOLD:], "and not", *expected]))
        if code and not any_code:
            raise Failed("\n".join([f"exit code {code}", *lines[-TOLD:]]))

    def show(self, expected):
        """Waits until the running command has printed what is expected."""
        try:
            self.wait(lambda: matched(expected, self.new_lines(), False) is not None, "such output")
        except Failed:
            raise Failed("\n".join(["it prints", *self.new_lines()[:TOLD], "and not", *expected])) from None
        self.seen += matched(expected, self.new_lines(), False)

    def wait(self, condition, what):
        self.shell.wait_until(lambda *_: condition(), what, max(min(WAIT_S, self.session.deadline - time.monotonic()), 0.1))


def first_of(usual, count):
    """The usual port, or another one, from which on so many are free."""
    for first in [usual, *(free_port() for _ in range(50))]:
        if all(port_is_free(first + i) for i in range(count)):
            return first
    raise Failed(f"no {count} ports in a row are free")


class Session:
    """The reader: a fresh home with a checkout in it, and terminals."""

    def __init__(self, workspace):
        self.workspace, self.deadline, self.terminals = workspace, time.monotonic() + ALL_S, {}
        keeper, first = 2181 if port_is_free(2181) else free_port(), first_of(9092, BROKERS)
        self.instead = {"2181": str(keeper), **{str(9092 + i): str(first + i) for i in range(BROKERS)}}
        self.instead["/usr/local"] = str(workspace.path / "usr-local")
        (workspace.path / "usr-local").mkdir()
        self.checkout = workspace.path / "tidemill"
        (self.checkout / "config").mkdir(parents=True)
        for name in ("bin", "examples", "python"):
            (self.checkout / name).symlink_to(ROOT / name)
        for properties in (ROOT / "config").glob("*.properties"):
            (self.checkout / "config" / properties.name).write_text(self.as_run(properties.read_text()))

    def as_run(self, text):
        for shown, real in self.instead.items():
            text = re.sub(rf"(?<![\w]){re.escape(shown)}\b", lambda _, real=real: real, text)
        return text

    def as_shown(self, text):
        for shown, real in self.instead.items():
            text = re.sub(rf"(?<![\w]){re.escape(real)}\b", lambda _, shown=shown: shown, text)
        return text

    def play(self, block):
        name = block.kind[1]
        terminal = self.terminals.get(name)
        if terminal is None:
            terminal = self.terminals[name] = Terminal(self)
        steps = block.steps()
        commands = [i for i, step in enumerate(steps) if step[0] == "$"]
        for i, (kind, text, expected) in enumerate(steps):
            while expected and not expected[-1]:
                expected.pop()
            if kind == "$":
                terminal.start(text)
                interrupted = i + 1 < len(steps) and steps[i + 1][0] == "^C"
                if interrupted or (i == commands[-1] and "running" in block.kind):
                    terminal.show(expected)
                else:
                    terminal.finish(expected)
            elif kind == "^C":
                os.killpg(terminal.shell.process.pid, signal.SIGINT)
                terminal.finish(expected, any_code=True)
            else:
                if kind == ">":
                    terminal.shell.type(text)
                terminal.show(expected)


def same_blocks():
    ours, theirs = ([(" ".join(block.kind), block.lines) for block in blocks(page)] for page in (PAGE, CHINESE))
    for english, chinese in zip(ours, theirs):
        expect(chinese, english, "a block of the Chinese page")
    expect(len(theirs), len(ours), "the number of blocks of the Chinese page")


def readme():
    """Its commands are the tutorial's, and it shows under them only lines that the tutorial shows under the same command."""
    shown = {}
    latest = {}
    for block in blocks(PAGE):
        if block.kind[:1] != ["console"]:
            continue
        for kind, text, lines in block.steps():
            if kind == "$":
                latest[block.kind[1]] = command = text.removeprefix("./")
            else:
                command = latest[block.kind[1]]
            shown.setdefault(command, []).extend(masked(lines) + ([text] if kind == ">" else []))
    for block in blocks(README):
        command = None
        for line in masked(block.lines):
            words = line.removeprefix("$ ").removeprefix("./")
            if words.startswith("bin/"):
                command = words
                if command not in shown:
                    raise Failed(f"README.md:{block.number}: the tutorial does not run {command}")
            elif command and line and not PAIR.match(line) and line not in shown[command]:
                raise Failed(f"README.md:{block.number}: the tutorial does not show {line!r} after {command}")


def main():
    checks = Checks()
    checks.check("the Chinese page holds the same blocks", same_blocks)
    if README.exists():
        checks.check("README.md shows what the tutorial shows", readme)
    else:
        checks.skip("README.md shows what the tutorial shows", "there is none")
    with Workspace("docs") as workspace:
        session = Session(workspace)
        whole = True
        try:
            for block in blocks(PAGE):
                if block.kind[:1] != ["console"]:
                    continue
                name = f"{PAGE.name}:{block.number} {block.kind[1]}: {block.lines[0]}"
                if whole:
                    whole = checks.check(name, session.play, block)
                else:
                    checks.skip(name, "an earlier step failed")
        finally:
            for terminal in reversed(session.terminals.values()):
                terminal.close()
    checks.close()


if __name__ == "__main__":
    main()

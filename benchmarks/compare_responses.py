"""What changed between two versions of healthseg? Both answer the same questions on the same data.

    python benchmarks/compare_responses.py OLD NEW [--pages] [--ignore-text] [--json FILE]
    python benchmarks/compare_responses.py OLD --save old.json.gz --work DIR [--pages]
    python benchmarks/compare_responses.py old.json.gz NEW --work DIR [--pages]

OLD and NEW are checkouts (folders with healthseg/), Python executables of environments, or captures
that --save kept. A checkout runs with this Python, so both sides use the same libraries. OLD writes
a demo portfolio for each scenario; --work keeps these for the next run. Each version answers all
tools on copies of its own, for the portfolio and for evenly spaced customers, on the last whole day
and 90 days before; with --pages it also makes HTML reports of the first scenario. Keys and words of
OLD that were renamed on purpose are mapped: by RENAMED_KEYS, and by --rename OLD=NEW or --rename
FILE.toml (lines of OLD = "NEW"). Exit status: 0 no difference, 1 differences or an error, 2 usage.
"""

from __future__ import annotations

import argparse
import difflib
import gzip
import hashlib
import html
import importlib
import inspect
import itertools
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

SCENARIOS = ["default", "null", "dirty"]  # all is planted; nothing is; CSV tables with faults
DAYS_BEFORE, SEED, PAGE_CUSTOMERS, PATHS_SHOWN = 90, 7, 3, 15
TOOLS = {  # each tool, and its function for the portfolio
    "calculate_health_score": "portfolio_health",
    "track_usage_engagement": "portfolio_usage",
    "track_feature_adoption": "portfolio_adoption",
    "manage_lifecycle_stages": "portfolio_lifecycle",
    "track_adoption_milestones": "portfolio_milestones",
    "segment_customers": "portfolio_segments",
    "segment_by_value_tier": "portfolio_tiers",
    "analyze_engagement_patterns": "portfolio_patterns",
}
READING = {"action": "get_stage", "operation": "get_stage", "analysis_scope": "single_customer"}
NEEDED = {"segment_type": "health", "segmentation_criteria": {}}  # each tool takes what it knows
# Whole names, or words of names and texts: book_ratio becomes portfolio_ratio, not_measured stays.
RENAMED_KEYS = {"book": "portfolio", "measure": "metric"}
LEFT_OUT = {"fingerprint", "run_id"}
MASKED = re.compile(  # ids made from code, and when and how fast a page was made
    r"\bseg_\w+_[0-9a-f]{8}\b|(\b|_)[0-9a-f]{16}\b|^[\d.]+ s$"
    r"|\b\d{1,2} \w{3} \d{4}(,| at) \d\d:\d\d UTC( in [\d.]+ s)?"
)
PROSE = re.compile(r"(?=.* ).*[A-Za-z]{2}", re.DOTALL)
HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
INLINE = re.compile(r"</?(?:a|abbr|b|code|em|i|mark|small|span|strong|sub|sup|time|u)(?: [^>]*)?>")
COMMAND = """import sys; from importlib.metadata import entry_points
(one,) = entry_points(group="console_scripts", name="healthseg"); sys.exit(one.load()())"""
FIELDS = ("tool", "scenario", "date", "customer", "kind", "path", "old", "new")
Json = dict[str, Any]
Flat = dict[tuple[str, ...], Json]  # by tool, scenario, date and customer
Found = Iterator[tuple[str, str, Any, Any]]  # kind (changed, removed, added), path, old, new


class Version(NamedTuple):
    """A checkout or an environment, and how its code is run."""

    source: str
    python: str
    paths: tuple[str, ...] = ()  # where a checkout's code is found, and its entry points

    @classmethod
    def of(cls, source: str, work: Path) -> Version:
        path = Path(source).absolute()
        if (path / "healthseg" / "__init__.py").is_file():
            return cls(source, sys.executable, (str(path), entry_points(path, work)))
        if path.is_file() and os.access(path, os.X_OK):
            return cls(source, str(path))
        sys.exit(f"{source} is no checkout, no Python executable and no saved capture")

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs this version's Python, on one thread and without this machine's settings."""
        env = {name: value for name, value in os.environ.items() if "HEALTHSEG" not in name}
        env |= {"PYTHONPATH": os.pathsep.join(self.paths), "OMP_NUM_THREADS": "1"}
        return subprocess.run([self.python, "-P", *arguments], env=env, text=True, **options)

    def command(self, *variants: Sequence[str]) -> None:
        """Runs the healthseg command: the first variant whose options it knows."""
        for arguments in variants:
            done = self.run("-c", COMMAND, *arguments, capture_output=True)
            if done.returncode != 2:
                break
        if done.returncode not in (0, 3):  # 3: some reports failed, the others are there
            sys.exit(f"{self.source}: {' '.join(arguments)}\n{(done.stdout + done.stderr)[-2000:]}")


def entry_points(checkout: Path, work: Path) -> str:
    """A folder with the checkout's entry points, which hides those of an installed healthseg."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = work / hashlib.sha256(bytes(checkout)).hexdigest()[:8] / "healthseg-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    with open(info / "entry_points.txt", "w", encoding="utf-8") as file:
        groups = {"console_scripts": project["scripts"], **project.get("entry-points", {})}
        for group, names in groups.items():
            print(f"[{group}]", *(f"{name} = {names[name]}" for name in names), sep="\n", file=file)
    return str(info.parent)


def data_of(scenario: str, generator: Version, work: Path) -> tuple[Path, str]:
    """The scenario's portfolio, written unless it is there, and a digest of its files."""
    folder, sums = work / f"data-{scenario}", hashlib.sha256()
    if not folder.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        common = ("demo", "--scenario", scenario, "--out", str(folder))
        generator.command((*common, "--clients", "250"), (*common, "--customers", "250"))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        sums.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return folder, sums.hexdigest()


def chosen(customers: Sequence[str], most: int) -> list[str]:
    """Evenly spaced customers, the same ones every time."""
    count, start = min(most, len(customers)), random.Random(SEED).random()
    return [customers[int((start + index) * len(customers) / count)] for index in range(count)]


def answer(folder: str, home: str | None, tools: list[str], customers: Any, dates: Any) -> None:
    """Writes the replies of the version that this process runs; customers are ids, or how many."""
    import healthseg as hs

    imported = Path(hs.__file__).parents[1].resolve()
    if home and imported != Path(home).resolve():
        sys.exit(f"healthseg was imported from {imported}, not from {home}")
    opened = hs.Portfolio.open(folder)
    last = opened.data_until
    dates = dates or [str(last), str(last - timedelta(days=DAYS_BEFORE))]
    if isinstance(customers, int):
        customers = chosen(sorted(opened.table("customers")["client_id"]), customers)
    replies: Json = {tool: {} for tool in tools}
    for tool, on in itertools.product(tools, dates):
        replies[tool][on] = {who: reply(opened, tool, who, on) for who in ("portfolio", *customers)}
    text = json.dumps({"dates": dates, "customers": customers, "replies": replies})
    Path(f"{folder}.json").write_text(text.replace(json.dumps(folder)[1:-1], "PORTFOLIO"))


def reply(portfolio: Any, tool: str, who: str, day: str) -> Json:
    """One reply as JSON; an error as its error object."""
    try:
        function = function_of(tool, who == "portfolio")
        parameters = {**READING, **NEEDED, "client_id": who, "as_of": day}
        accepted = parameters.keys() & inspect.signature(function).parameters
        return function(portfolio, **{name: parameters[name] for name in accepted}).to_dict()
    except Exception as problem:
        crash = {"error_code": type(problem).__name__, "error_message": repr(problem)}
        return problem.to_dict() if hasattr(problem, "to_dict") else crash


def function_of(tool: str, for_portfolio: bool) -> Any:
    """A tool's function, by the newest name that this version knows."""
    names = (TOOLS[tool], f"{tool}_portfolio", f"{tool}_book") if for_portfolio else (tool,)
    for name, module in itertools.product(names, ("healthseg", "healthseg.tools")):
        function = getattr(importlib.import_module(module), name, None)
        if function is not None:
            return function
    raise LookupError(f"there is no {' or '.join(names)}")


def captured(source: str, options: argparse.Namespace, work: Path, old: Json | None = None) -> Json:
    """A version's replies and pages by scenario; with ``old``, to the questions that it answered."""
    if source.endswith(".json.gz"):
        return json.loads(gzip.decompress(Path(source).read_bytes()))
    version, capture = Version.of(source, work), dict[str, Any]()
    for scenario in options.scenarios or list(old or SCENARIOS):
        print(f"{source}: {scenario}", file=sys.stderr, flush=True)
        data, sums = data_of(scenario, version, work)
        like = old.get(scenario, {"data": None}) if old else {}
        if like.get("data", sums) != sums:
            sys.exit(f"{options.old} was made from other data of {scenario}: give its --work")
        with tempfile.TemporaryDirectory(dir=work) as folder:
            copy = shutil.copytree(data, Path(folder) / "portfolio")
            answers = {"data": sums, **replies_of(version, copy, options, like)}
            if options.pages and (like["pages"] if old else not capture):
                answers["paged"] = like.get("paged") or whom_for_pages(answers)
                answers["pages"] = pages_of(version, copy, answers["paged"], options.tools)
        capture[scenario] = {"pages": {}, **answers}
    return capture


def replies_of(version: Version, copy: Path, options: argparse.Namespace, like: Json) -> Json:
    """One scenario's replies, made in a process of the version."""
    whom = chosen(like["customers"], options.customers) if like else options.customers
    home = version.paths[0] if version.paths else None
    request = json.dumps([str(copy), home, options.tools, whom, like.get("dates")])
    if version.run(__file__, "--capture", request, stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"{version.source} gave no replies")
    return json.loads(Path(f"{copy}.json").read_text())


def whom_for_pages(answers: Json) -> list[str]:
    """A few customers for whom no tool gives an error on the last day."""
    last = [days[answers["dates"][0]] for days in answers["replies"].values()]
    fine = [
        client
        for client in answers["customers"]
        if all("error_code" not in who[client] for who in last)
    ]
    return chosen(fine, PAGE_CUSTOMERS)


def pages_of(version: Version, copy: Path, customers: list[str], tools: list[str]) -> Json:
    """The texts of the reports' pages, by name and whom they are about."""
    out, texts = copy.with_name("pages"), defaultdict[str, Json](dict)
    common = ["report", *tools, "--portfolio", str(copy), "--out", str(out), "--quiet"]
    common += [word for client in customers for word in ("--client", client)]
    version.command([*common, "--overview"], [*common, "--book"])
    for path in out.rglob("*.html"):
        who = path.parent.name if path.parent.name in customers else "portfolio"
        texts[path.stem][who] = {"text": page_text(path.read_text(encoding="utf-8"))}
    return texts


def page_text(page: str) -> list[str]:
    """The texts of a page, one for each block, without tags, scripts and styles."""
    blocks = re.split(r"<[^>]*>", INLINE.sub("", HIDDEN.sub("", page)))
    return [" ".join(html.unescape(block).split()) for block in blocks if block.strip()]


class Rules(NamedTuple):
    """What counts as the same."""

    renames: Mapping[str, str]
    ignore_text: bool

    def renamed(self, text: str) -> str:
        """A name or a text of the old side with the new names."""
        for words in (r"\w+", r"[^\W_]+"):
            text = re.sub(words, lambda word: self.renames.get(word[0], word[0]), text)
        return text

    def same(self, old: Any, new: Any) -> bool:
        if isinstance(old, str) and isinstance(new, str):
            ignored = self.ignore_text and PROSE.match(old) and PROSE.match(new)
            after, *before = (MASKED.sub("#", text) for text in (new, old, self.renamed(old)))
            return bool(ignored) or after in before
        if {type(old), type(new)} <= {int, float}:
            return math.isclose(old, new, rel_tol=1e-9, abs_tol=1e-9) or (old != old and new != new)
        return type(old) is type(new) and old == new

    def values(self, old: Any, new: Any, path: str) -> Found:
        """All differences of two JSON values."""
        if isinstance(old, dict) and isinstance(new, dict):
            yield from self.objects(old, new, f"{path}." if path else "")
        elif not (isinstance(old, list) and isinstance(new, list)):
            if not self.same(old, new):
                yield "changed", path, old, new
        elif all(isinstance(text, str) for text in (*old, *new)):
            yield from self.texts(old, new, f"{path}[*]")
        else:
            if len(old) != len(new):
                yield "changed", f"{path}(length)", len(old), len(new)
            for index, (first, other) in enumerate(zip(old, new, strict=False)):
                yield from self.values(first, other, f"{path}[{index}]")

    def objects(self, old: Json, new: Json, path: str) -> Found:
        names = {key: key if key in new else self.renamed(key) for key in old}
        for key, name in names.items():
            if name not in new:
                yield "removed", path + key, old[key], None
            elif name not in LEFT_OUT:
                yield from self.values(old[key], new[name], path + name)
        known = set(names.values())
        yield from (("added", path + name, None, new[name]) for name in new if name not in known)

    def texts(self, old: list[str], new: list[str], path: str) -> Found:
        """Lists of texts are laid beside each other where they are alike."""
        before, after = (
            [MASKED.sub("#", text) for text in side if not (self.ignore_text and PROSE.match(text))]
            for side in (old, new)
        )
        there = set(after)
        before = [text if text in there else self.renamed(text) for text in before]
        matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
        for kind, start, end, begin, stop in matcher.get_opcodes():
            pairs = itertools.zip_longest(before[start:end], after[begin:stop])
            for text, other in pairs if kind != "equal" else ():
                change = "added" if text is None else "removed" if other is None else "changed"
                yield change, path, text, other


def flat(capture: Json, options: argparse.Namespace) -> Flat:
    """Replies and pages by tool, scenario, date and whom they are about."""
    by_key: Flat = {}
    for scenario, answers in capture.items():
        for tool, day in itertools.product(options.tools, answers["dates"]):
            replies = answers["replies"].get(tool, {}).get(day, {})
            by_key |= {(tool, scenario, day, who): replies[who] for who in replies}
        for page, about in answers["pages"].items() if options.pages else ():
            if page in options.tools or options.tools == list(TOOLS):
                by_key |= {(f"page {page}", scenario, "last day", who): about[who] for who in about}
    return by_key


def compared(old: Flat, new: Flat, rules: Rules) -> Iterator[Json]:
    """All differences of two flat captures; an error on one side only is a single one."""
    keys = [key for key in old if key in new]
    keys += sorted(key for key in old.keys() ^ new.keys() if key[0].startswith("page"))
    for key in keys:
        first, other = old.get(key, {}), new.get(key, {})
        if ("error_code" in first) != ("error_code" in other):
            first, other = (
                {"(error)": side.get("error_message", "none")} for side in (first, other)
            )
        for difference in rules.values(first, other, ""):
            yield dict(zip(FIELDS, (*key, *difference), strict=True))


def shown(differences: Iterable[Json]) -> Iterator[str]:
    """The differences by tool, kind and pattern of paths, the most frequent with an example."""
    groups = defaultdict(list)
    for difference in differences:
        groups[
            difference["tool"], difference["kind"], re.sub(r"\[\d+\]", "[*]", difference["path"])
        ].append(difference)
    order = sorted(groups, key=lambda key: (key[:2], -len(groups[key]), key))
    for (tool, kind), keys in itertools.groupby(order, key=lambda key: key[:2]):
        patterns = list(keys)
        yield f"{tool}: {sum(len(groups[key]) for key in patterns)} {kind} at {len(patterns)} paths:"
        for key in patterns[:PATHS_SHOWN]:
            yield f"  {len(groups[key])} × {key[2]}: {example(groups[key][0])}"


def example(difference: Json) -> str:
    """Both values from where they begin to differ, and where they are."""
    sides = [json.dumps(difference[side], ensure_ascii=False) for side in ("old", "new")]
    sides = [re.sub(r"[^\S ]", lambda space: ascii(space[0])[1:-1], side) for side in sides]
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(*sides, strict=False))
    start = max(len(list(same)) - 20, 0)
    sides = [("…" if start else "") + text[start : start + 60] for text in sides]
    return f"{' → '.join(sides)} ({difference['customer']}, {difference['date']}, {difference['scenario']})"


def renames(texts: Iterable[str]) -> dict[str, str]:
    """The names that changed: ours, and those of pairs and TOML files; with plurals and capitals."""
    names = dict(RENAMED_KEYS)
    for text in texts:
        old, equals, new = text.partition("=")
        names |= {old: new} if equals else tomllib.loads(Path(text).read_text(encoding="utf-8"))
    names |= {f"{old}s": f"{new}s" for old, new in names.items()}
    return {old.capitalize(): new.capitalize() for old, new in names.items()} | names


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    option, words = parser.add_argument, lambda text: text.split(",")
    option("old", metavar="OLD")
    option("new", metavar="NEW", nargs="?", help="may be left out with --save")
    option("--scenarios", type=words, help=f"default: those of OLD, or {','.join(SCENARIOS)}")
    option("--tools", type=words, default=list(TOOLS), help="default: all")
    option("--customers", type=int, default=40, help="of each scenario (default: 40)")
    option("--pages", action="store_true", help="compare the texts of reports, too")
    option("--ignore-text", action="store_true", help="leave out texts that hold a space")
    option("--rename", action="append", default=[], metavar="OLD=NEW", help="or a TOML file")
    option("--work", type=Path, help="folder for the data, used again when present")
    option("--save", type=Path, help="keep OLD's capture: a file that ends in .json.gz")
    option("--json", type=Path, help="write all differences to this file")
    options = parser.parse_args()
    if not (options.new or options.save):
        parser.error("give NEW as well, or --save")
    return options


def main() -> int:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        work = (options.work or Path(folder)).absolute()
        old = captured(options.old, options, work)
        if options.save:
            options.save.write_bytes(gzip.compress(json.dumps(old).encode(), mtime=0))
        if not options.new:
            return 0
        new = captured(options.new, options, work, old)
    sides = flat(old, options), flat(new, options)
    differences = list(compared(*sides, Rules(renames(options.rename), options.ignore_text)))
    if options.json:
        options.json.write_text(
            json.dumps(differences, indent=1, ensure_ascii=False), encoding="utf-8"
        )
    differing = len({tuple(difference[name] for name in FIELDS[:4]) for difference in differences})
    kinds = Counter(difference["kind"] for difference in differences)
    pages = [key[0].startswith("page") for key in sides[0] if key in sides[1]]
    summary = f"{differing} of {len(pages)} replies and pages ({sum(pages)}) differ"
    print(*shown(differences), ", ".join((summary, *(f"{kinds[k]} {k}" for k in kinds))), sep="\n")
    return int(bool(differences))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--capture"]:
        answer(*json.loads(sys.argv[2]))
    else:
        sys.exit(main())

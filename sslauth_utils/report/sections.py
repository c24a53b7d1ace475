"""The tables and figures of the paper in its order, and which claims, figures and tables of ours belong to each.

Standard library only: the end of a run shows them without loading anything.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: of a verdict: its sign, its sign where a terminal cannot print that, and its colour on the page
SIGNS = {"reproduced": ("✓", "+", "good"), "not reproduced": ("✗", "x", "bad")}
UNDECIDED = ("·", "?", "idle")
#: of a verdict of ``summary.csv``, as a reader is told it
VERDICTS = {
    "reproduced": "held", "not reproduced": "did not hold", "not tested at this size": "cannot be decided here"
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One table or figure of the paper, or a question of ours.

    Attributes:
        key: of its place on the page.
        name: as the paper calls it.
        subject: what it is about, in a few words.
        sources: how the sources of its claims read (regular expressions, searched).
        figures, tables: names of our figures' files and headings of our tables.
    """

    key: str
    name: str
    subject: str
    sources: tuple[str, ...]
    figures: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()


#: the papers of which the suite has claims: how the sources of the second and later begin, after "ours; "
PAPERS = ("SSL-Auth", "Sample pairs", "DeepAuth")


def paper_of(source: str) -> str:
    """The paper of a claim, by its source; our own questions belong to the paper that they are put to."""
    start = source.removeprefix("ours; ").partition(",")[0]
    return start if start in PAPERS[1:] else PAPERS[0]


#: the first whose `sources` fit has the claim; "Tables 3 and 6" is where it is printed first
SECTIONS = (
    Section("pairs-ours", "Pairs", "null; our questions", (r"^ours; Sample pairs",), ("fig20_null", "fig20b_noise")),
    Section("pairs-seconds", "Pairs", "Table V: cost", (r"^Sample pairs, Table V\b",)),
    Section("pairs", "Pairs", "Tables II-IV, Fig. 3", (r"^Sample pairs",), ("fig21_fine_tuning", "fig21b_pruning"),
            ("Sample pairing: backdoor and 8-bit weights (Tables II and IV)",)),
    Section("deepauth-ours", "DeepAuth", "null; our questions", (r"^ours; DeepAuth",),
            ("deepauth_others", "deepauth_leverage"),
            ("DeepAuth: who passes (Table 2, the null, other honest models)",)),
    Section("deepauth", "DeepAuth", "Tables 1-4, Figs. 3-8", (r"^DeepAuth",),
            ("deepauth_fig3_uniqueness", "deepauth_fig4_progress", "deepauth_fig5_fine_tuning",
             "deepauth_fig6_pruning"),
            ("DeepAuth: effectiveness (Tables 1 and 3)", "DeepAuth: fidelity (Table 4)")),
    Section("crossing", "Crossing", "checks of classifiers", (r"^ours; Crossing",), ("fig24_crossing",),
            ("The crossing: which check of a classifier sees the smallest change",
             "The crossing: 8-bit weights and a backdoor")),
    Section("fig4", "Fig. 4", "fine-tuning", (r"^Fig\. 4\b",), ("fig04_fine_tuning",), ("Fine-tuning",)),
    Section("fig5", "Fig. 5", "pruning: agreement", (r"^Fig\. 5\b",),
            ("fig05_pruning_agreement", "fig05b_amplification", "fig05c_batch_norm"),
            ("Amplification by the generator",)),
    Section("fig6", "Fig. 6", "pruning: success", (r"^Fig\. 6\b",), ("fig06_pruning_success",), ("Pruning",)),
    Section("table1", "Table 1", "plain backdoors", (r"^Table 1\b",), ("table1_backdoor", "table1_attack_success"),
            ("Backdoors, plain and disguised",)),
    Section("table3", "Table 3", "decimals, OOD keys", (r"Tables? 3\b",), ("table3_precision",), ("Precision loss",)),
    Section("one", "Ours", "equally strict DCmp", (r"one tolerance",), ("fig15_near_tolerance",),
            ("Equally strict",)),
    Section("training", "Ours", "training of G", (r"^ours; §5\.1 \((1000 epochs|PGAN)",),
            ("fig14_generator_training",)),
    Section("table7", "Table 7", "disguise, by target", (r"Table 7\b",)),
    Section("table2", "Table 2", "disguised backdoors", (r"Tables? 2\b", r"§5\.3"), ("table2_attack_success",)),
    Section("table4", "Table 4", "fidelity", (r"Table 4\b",)),
    Section("table5", "Table 5", "aim of the generator", (r"Table 5\b", r"§6"),
            ("table5_objective", "table5b_kappa", "table5c_negative"),
            ("Generator objective",)),
    Section("fig7", "Fig. 7", "choices of keys", (r"Fig\. 7\b",), ("fig07_key_choice",)),
    Section("fig8", "Figs. 8, 9", "OOD against ID keys", (r"Fig\. [89]\b", r"^§A\.2"), ("fig08_key_pruning",)),
    Section("fig10", "Fig. 10", "density of keys", (r"Fig\. 10\b", r"§4\.1"), ("fig10_key_shift",)),
    Section("table6", "Table 6", "decimals, ID keys", (r"Table 6\b",)),
    Section("fig11", "Fig. 11", "disguise, by epoch", (r"Fig\. 11\b",), ("fig11_by_epoch",)),
    Section("fig12", "Fig. 12", "disguise, by weight", (r"Fig\. 12\b",), ("fig12_lambda",)),
    Section("table8", "Table 8", "other forms", (r"Table 8\b",), ("table8_transformation",),
            ("Forms other than images",)),
    Section("honest", "Sec. 4.2", "honest changes", (r"§4\.2", r"§5\.1"), ("fig03_null",),
            ("Honest changes of an intact encoder",)),
    Section("other", "Others", "without a place", (r"",), ("fig13_utility_loss",), ("The utility loss and the keys",)),
)  # fmt: skip
#: as they stand on the page: the paper's order, ours behind
ORDER = (
    "fig4", "fig5", "fig6", "table1", "table2", "table3", "table4", "table5", "fig7", "fig8", "fig10", "table6",
    "fig11", "fig12", "table7", "table8", "honest", "one", "training", "pairs", "pairs-seconds", "pairs-ours",
    "deepauth", "deepauth-ours", "crossing", "other",
)  # fmt: skip


def section_of(source: str) -> Section:
    """The section of a claim, by its source."""
    return next(section for section in SECTIONS if any(re.search(pattern, source) for pattern in section.sources))


def totals(claims: Iterable[tuple[str, str]]) -> str:
    """How the claims of each paper came out, a sentence a paper, and how many questions are ours.

    Args:
        claims: (source, verdict) of each.
    """
    claims = list(claims)
    ours = sum(source.startswith("ours") for source, _ in claims)
    sentences, undecided = [], []
    for paper in PAPERS:
        mine = [verdict for source, verdict in claims if not source.startswith("ours") and paper_of(source) == paper]
        held, missed = (mine.count(verdict) for verdict in SIGNS)
        if mine and (held + missed or paper == PAPERS[0]):
            sentences.append(
                f"{paper}: of {len(mine)} claims {held} held, {missed} did not, {len(mine) - held - missed} cannot be "
                "decided here."
            )
        elif mine:
            undecided.append(paper)
    if undecided:
        sentences.append(f"{' and '.join(undecided)}: nothing decided in this profile.")
    return " ".join([*sentences, *([f"{ours} more questions are ours."] if ours else [])])


def scoreboard(claims: Iterable[tuple[str, str]]) -> list[tuple[Section, tuple[int, int, int]]]:
    """Of every section with claims, in the page's order: how many held, did not, and are undecided here.

    Args:
        claims: (source, verdict) of each.
    """
    counts: dict[str, list[int]] = {}
    places = {verdict: number for number, verdict in enumerate(SIGNS)}
    for source, verdict in claims:
        of_section = counts.setdefault(section_of(source).key, [0, 0, 0])
        of_section[places.get(verdict, 2)] += 1
    known = {section.key: section for section in SECTIONS}
    return [(known[key], tuple(counts[key])) for key in ORDER if key in counts]

"""The report: one self-contained HTML page with the claims, every figure and the notebooks."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from sslauth_utils.base.files import write_text
from sslauth_utils.claims import findings as found
from sslauth_utils.claims.cuts import BREAK
from sslauth_utils.claims.families import read_claims
from sslauth_utils.claims.rules import NOT_REPRODUCED, NOT_TESTED, REPRODUCED, rule_text

_TEMPLATE = """{% macro folded(cuts) %}{% if cuts %}<details class="quiet">
<summary>settings cut: {{ cuts | length }}</summary>
{{ cuts | join("; ") }}</details>{% endif %}{% endmacro %}<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SSL-Auth, reproduced: profile {{ profile }}</title>
<style>
:root { --ink: #1c2530; --quiet: #5c6875; --line: #dde3e9; --page: #fff; --soft: #f5f7f9; --link: #0060a0;
  --good: #0a6b46; --goodbg: #e2f4ec; --bad: #9a3412; --badbg: #fdeadf; --idle: #5c6875; --idlebg: #edf0f3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --quiet: #9aa7b4; --line: #323c46; --page: #151b21;
  --soft: #1d252d; --link: #79b8ee; --good: #7fd8b1; --goodbg: #143528; --bad: #f5a97f; --badbg: #40210f;
  --idle: #a9b4bf; --idlebg: #29323b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2rem 1.2rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; } h2 { margin: 2.6rem 0 .6rem; font-size: 1.25rem; }
p, li { max-width: 46rem; } .quiet { color: var(--quiet); font-size: .9rem; } a { color: var(--link); }
.counts { display: flex; flex-wrap: wrap; gap: .7rem; margin: 1.2rem 0; }
.counts label { border: 1px solid var(--line); border-radius: .5rem; padding: .55rem .9rem; background: var(--soft);
  cursor: pointer; }
.counts label:has(:checked) { border-color: var(--link); box-shadow: inset 0 0 0 1px var(--link); }
.counts label:has(:focus-visible) { outline: 2px solid var(--link); outline-offset: 2px; }
.counts input { position: absolute; opacity: 0; } .counts b { font-size: 1.5rem; display: block; line-height: 1.2; }
{% for _, kind in kinds %}body:has(#only-{{ kind }}:checked) .claims tbody tr:not(.is-{{ kind }}, :target),
{% endfor %}.none { display: none; }
.claims tr:target { background: var(--soft); outline: 2px solid var(--link); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .9rem; }
@media print { .claims tbody tr { display: table-row !important; } nav { display: none; } }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th { text-align: left; color: var(--quiet); font-weight: 600; border-bottom: 2px solid var(--line); }
td { border-bottom: 1px solid var(--line); vertical-align: top; } th, td { padding: .42rem .6rem .42rem 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.claims td:nth-child(2) { width: 42%; } .claims td:nth-child(3) { white-space: normal; }
.verdict { border-radius: 1rem; padding: .05rem .6rem; white-space: nowrap; font-size: .82rem; font-weight: 600; }
.good { color: var(--good); background: var(--goodbg); } .bad { color: var(--bad); background: var(--badbg); }
.idle { color: var(--idle); background: var(--idlebg); }
figure { margin: 1.6rem 0 2.2rem; } figure img { width: 100%; height: auto; background: #fff; border-radius: .4rem;
  border: 1px solid var(--line); } 
  figcaption { font-size: .9rem; color: var(--quiet); margin-top: .4rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
.reason { border-left: 3px solid var(--line); padding-left: 1rem; margin: 1.4rem 0; }
.reason p { margin: .3rem 0; } .reason a { overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  .claims thead { display: none; }
  .claims tr { display: block; border-bottom: 1px solid var(--line); padding: .7rem 0; }
  .claims td { display: block; border: 0; padding: .1rem 0; text-align: left; white-space: normal; }
  .claims td.number { display: inline-block; margin-right: .9rem; }
  .claims td[data-name]:not([data-name=""])::before { content: attr(data-name) ": "; color: var(--quiet); }
}
</style>
</head>
<body><main>
<h1>SSL-Auth, reproduced</h1>
<p class="quiet">Profile <b>{{ profile }}</b> · {{ note }}</p>
<p>{{ lead }}</p>
<nav><a href="#claims">Claims</a>{% if reasons %}<a href="#reasons">What did not reproduce</a>{% endif %}
{% for heading, _, _ in tables %}<a href="#table-{{ loop.index }}">{{ heading }}</a>
{% endfor %}<a href="#figures">Figures</a><a href="#notebooks">Notebooks</a></nav>
<div class="counts" role="radiogroup" aria-label="Claims shown below">
<label><input type="radio" name="only" checked><b>{{ claims | length }}</b>all claims</label>
{% for name, kind in kinds %}<label><input type="radio" name="only" id="only-{{ kind }}">
<b>{{ counts[name] }}</b>{{ name }}</label>
{% endfor %}</div>

<h2 id="claims">The paper's claims</h2>
<p class="quiet">Each line: what was measured, the paper's number, ours with its 95 % interval, how many values it
rests on, and the verdict by the claim's rule (point at a verdict to read it; all stand in
<code>config/claims</code>). The interval covers other keys, hardly other encoders: where a rule rests on it and
there are two to four seeds, it must hold with every seed alone as well. “Not tested at this size” means that this
profile's encoder or images cannot decide the claim; our number is shown all the same. Settings cut are those on which
the claim hangs, that the paper states, or the code on which it builds (<code>config/stated</code>), and that this
profile sets otherwise. The boxes above choose which claims are listed.</p>
<table class="claims">
<thead><tr><th>Source</th><th>Quantity</th><th class="number">Paper</th><th class="number">Measured</th>
<th class="number">95 % interval</th><th class="number">n</th><th>Verdict</th></tr></thead>
<tbody>
{% for line in claims %}<tr id="{{ line.id }}" class="is-{{ line.kind }}"><td data-name="">{{ line.source }}</td>
<td data-name="">{{ line.quantity }}</td>
<td class="number" data-name="paper">{{ line.paper }}</td>
<td class="number" data-name="measured">{{ line.measured }}</td>
<td class="number" data-name="95 % interval">{{ line.interval }}</td><td class="number" data-name="n">{{ line.n }}</td>
<td data-name=""><span class="verdict {{ line.kind }}" title="{{ line.rule }}">{{ line.verdict }}</span>
{{ folded(line.cuts) }}</td></tr>
{% endfor %}</tbody></table>

{% if reasons %}<h2 id="reasons">What did not reproduce, and why</h2>
<p class="quiet">Each finding was written after its claims had failed, together with what must be measured if it is
right (<code>config/findings</code>). It is called a cause only if this run varied that cause. A test in green or red
was written before the rows that it was first asked of; one in grey was written after them and confirms nothing.</p>
{% for reason in reasons %}<section class="reason">
<p>{% if reason.text %}<b>{{ reason.kind }}.</b> {{ reason.text }}{% else %}<b>No reason found.</b>{% endif %}</p>
<p class="quiet">Claims:
{% for claim in reason.claims %}<a href="#{{ claim }}">{{ claim }}</a>{{ ", " if not loop.last }}
{% endfor %}</p>
{{ folded(reason.cuts) }}
{% if reason.tests %}<ul>
{% for test in reason.tests %}<li>{{ test.test }}: <b>{{ test.measured }}</b>{% if test.interval %}
[{{ test.interval }}], n = {{ test.n }}{% endif %}
<span class="verdict {{ test.kind }}">{{ test.answer }}{{ ", written after" if test.after }}</span></li>
{% endfor %}</ul>
{% endif %}</section>
{% endfor %}{% endif %}
{% for heading, text, table in tables %}<h2 id="table-{{ loop.index }}">{{ heading }}</h2>
<p class="quiet">{{ text }}</p>
<div class="scroll">{{ table | safe }}</div>
{% endfor %}
<h2 id="figures">Figures</h2>
{% for name, caption, data in figures %}<figure id="{{ name }}">
<img alt="{{ caption }}" src="data:image/png;base64,{{ data }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
<h2 id="notebooks">Executed notebooks</h2>
<p class="quiet">Every number above comes out of these, on the machine where the run was made. They open in
JupyterLab.</p>
<ul>
{% for name, link in notebooks %}<li><a href="{{ link }}">{{ name }}</a></li>
{% endfor %}</ul>
</main></body></html>
"""


#: of a finding, as the page says it
KINDS = {found.CAUSE: "Cause", found.OBSERVATION: "Observation", found.UNKNOWN: "Cause unknown"}


def number(value: float) -> str:
    """A number as a table shows it: four digits, six between 99 and 100 where agreements differ; empty if missing."""
    return "" if pd.isna(value) else f"{value:.6g}" if 99 <= value < 100 else f"{value:.4g}"


def build_report(
    path: Path,
    profile: str,
    note: str,
    lead: str,
    claims: pd.DataFrame,
    tables: Sequence[tuple[str, str, pd.DataFrame]],
    figures: Sequence[tuple[Path, str]],
    notebooks: Sequence[tuple[str, str]],
    findings: pd.DataFrame,
) -> None:
    """Write the report.

    Args:
        path: of the page.
        profile, note, lead: what was run, in a line and in a sentence.
        claims: as `judge.evaluate` gives them.
        tables: (heading, how to read it, table).
        figures: (PNG file, caption); they are put into the page.
        notebooks: (name, link relative to the page).
        findings: as `findings.evaluate` gives them.
    """
    rules = {claim["id"]: rule_text(claim) for claim in read_claims()}
    kinds = [(REPRODUCED, "good"), (NOT_REPRODUCED, "bad"), (NOT_TESTED, "idle")]
    lines = [
        {
            "id": claim.id,
            "source": claim.source,
            "quantity": claim.quantity,
            "paper": claim.paper,
            "measured": number(claim.measured),
            "interval": "" if pd.isna(claim.low) else f"{number(claim.low)} to {number(claim.high)}",
            "n": "" if pd.isna(claim.n) else f"{claim.n:.0f}",
            "verdict": claim.verdict,
            "kind": dict(kinds)[claim.verdict],
            "rule": rules[claim.id],
            "cuts": _cuts(claim.cuts),
        }
        for claim in claims.itertuples()
    ]
    page = (
        jinja2.Environment(autoescape=True)
        .from_string(_TEMPLATE)
        .render(
            profile=profile,
            note=note,
            lead=lead,
            kinds=kinds,
            counts={name: int((claims["verdict"] == name).sum()) for name, _ in kinds},
            claims=lines,
            tables=[
                (heading, text, table.to_html(index=False, border=0, na_rep="")) for heading, text, table in tables
            ],
            figures=[(file.stem, caption, base64.b64encode(file.read_bytes()).decode()) for file, caption in figures],
            notebooks=notebooks,
            reasons=_reasons(findings, claims),
        )
    )
    write_text(path, page)


def _cuts(text: str) -> list[str]:
    return text.split(BREAK) if text else []


def _reasons(findings: pd.DataFrame, claims: pd.DataFrame) -> list[dict[str, Any]]:
    """The findings as the page shows them: one entry each, with its tests and the cuts of its claims."""
    kinds = {found.CONFIRMED: "good", found.REFUTED: "bad"}
    cuts = claims.set_index("id")["cuts"]
    shown = []
    for name, lines in findings.groupby("finding", sort=False):
        first = lines.iloc[0]
        tests = [
            {
                "test": line.test,
                "measured": number(line.measured),
                "interval": "" if pd.isna(line.low) else f"{number(line.low)} to {number(line.high)}",
                "n": line.n,
                "answer": line.answer,
                "kind": kinds.get(line.answer, "idle"),
                "after": line.answer in (found.FITS, found.FITS_NOT),
            }
            for line in lines.itertuples()
            if name != found.UNEXPLAINED
        ]
        about = {"text": first["reason"], "kind": KINDS[first["kind"]], "claims": first["claims"], "tests": tests}
        mine = dict.fromkeys(cut for claim in first["claims"] for cut in _cuts(cuts[claim]))
        shown.append(about | {"cuts": list(mine)})
    return shown

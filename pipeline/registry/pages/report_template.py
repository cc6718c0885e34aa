"""The HTML, the style and the script of the decision report."""

REPORT_STYLE = """
nav { display: flex; flex-wrap: wrap; gap: .1rem .9rem; margin: 1rem 0; font-size: .9rem }
dl.answers { display: grid; gap: .6rem; margin: 1rem 0; grid-template-columns: repeat(6, 1fr) }
dl.answers > div { background: var(--soft); border-radius: 6px; padding: .5rem .8rem }
dl.answers > div { grid-column: span 2 }
dl.answers > div:nth-child(n+4) { grid-column: span 3 }
svg { overflow: visible }
h3 { font-size: 1rem; margin: 1rem 0 0 }
.detail { margin: 0 }
dt { color: var(--muted); font-size: .85rem }
dd { margin: 0 }
dl.card dt { margin-top: .5rem }
.answer { font-weight: 600 }
.detail { font-size: .88rem }
figure { display: inline-block; vertical-align: top; margin: .6rem 1rem .6rem 0 }
figcaption { font-size: .88rem; color: var(--muted) }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
details { margin: .4rem 0 }
summary { cursor: pointer; color: var(--link) }
form { background: var(--soft); border-radius: 6px; padding: .6rem .8rem; margin: .6rem 0 }
form input[type=range] { width: 100%; accent-color: var(--link) }
form input[type=number] { width: 4.5rem; font: inherit }
mark { color: inherit; background: none; text-decoration: underline 2px }
mark.spam { text-decoration-color: var(--bad); font-weight: 600 }
mark.ham { text-decoration-color: var(--good); text-decoration-style: dotted }
.message { white-space: pre-wrap; overflow-wrap: anywhere; margin: .1rem 0 1rem }
@media (max-width: 40rem) {
  dl.answers { display: block }
  dl.answers > div { margin-bottom: .6rem }
  .scroll table.narrow { min-width: 0 }
}
@media print {
  nav, form { display: none }
  details::details-content { content-visibility: visible; block-size: auto }
}
"""

MACROS = """
{% macro chart(svg, caption, description) %}
<figure><div role="img" aria-label="{{ description }}">{{ svg|safe }}</div>
<figcaption>{{ caption }}</figcaption></figure>
{% endmacro %}
{% macro begin_table(name, columns, numbers=0) %}
<div class="scroll" role="region" tabindex="0" aria-label="{{ name }}">
<table{% if columns|length < 4 %} class="narrow"{% endif %}><thead><tr>{% for column in columns %}
<th{% if loop.index0 >= columns|length - numbers %} class="number"{% endif %}>{{ column }}</th>
{%- endfor %}</tr></thead><tbody>
{% endmacro %}
{% macro end_table() %}</tbody></table></div>{% endmacro %}
{% macro cost_row(name, cost, id="") %}
<tr><td>{{ name }}</td>{% for count in cost %}
<td class="number"{% if id %} id="{{ id }}-{{ loop.index0 }}"{% endif %}>
{{- "{:,}".format(count) }}</td>{% endfor %}</tr>
{% endmacro %}
"""

REPORT_BODY_TEMPLATE = (
    MACROS
    + """
<main>
<dl class="answers">
{% for one in answers %}
<div><dt>{{ one.question }}</dt><dd class="answer">{{ one.answer }}</dd>
<dd class="detail">{{ one.detail }}</dd></div>
{% endfor %}
</dl>
<nav aria-label="Sections">
{% for id, heading in sections.items() %}<a href="#{{ id }}">{{ heading }}</a>
{% endfor %}
</nav>

<h2 id="ship">{{ sections.ship }}</h2>
<p>Register says <b>{{ verdict }}</b>{{ ": " ~ reason if reason }}.
A missed warning stops nothing.</p>
{{ begin_table("Criteria", ["Criterion", "Met", "Value", "95 % interval", "Bound"], 3) }}
{% for row in criteria %}
<tr><td>{{ row.name }}{{ " (warning)" if row.severity == "warning" else "" }}</td>
<td><i class="text-{{ 'success' if row.met else 'danger' }}">
{{- "✓ met" if row.met else "✗ missed" }}</i></td>
<td class="number">{{ row.value }}</td><td class="number">{{ row.interval }}</td>
<td class="number">{{ row.bound }}</td></tr>
{% endfor %}
{{ end_table() }}

<h2 id="better">{{ sections.better }}</h2>
<p>{{ is_better }} {{ other_sentences }}
Both models label the same messages; the interval is that of the difference.</p>
{% if lead_chart %}
{{ chart(lead_chart, "This model minus the linear baseline; right of the line is more.",
"The differences of the table below with their intervals") }}
{% endif %}
{{ begin_table("Differences", ["Compared with", "Metric", "Result", "Difference",
"95 % interval"], 2) }}
{% for row in differences %}
<tr><td>{{ row.other }}</td><td>{{ row.metric }}</td><td>{{ row.result }}</td>
<td class="number">{{ row.value }}</td><td class="number">{{ row.interval }}</td></tr>
{% endfor %}
{{ end_table() }}

{% if costs %}
<h2 id="costs">{{ sections.costs }}</h2>
<p>A higher threshold loses less ham and catches less spam.
In service {% if thresholds %}each known source has a threshold of its own:
{{ thresholds }}. Other messages have {{ default_threshold }}.
{%- else %}the threshold is {{ default_threshold }}.{% endif %}</p>
{{ begin_table("Costs", ["", "Spam caught", "Spam missed", "Ham lost", "Ham kept"], 4) }}
{{ cost_row("In service, of the test messages", costs.on_test) }}
{{ cost_row("In service, per million messages with %d %% spam" % costs.spam_percent,
costs.per_million) }}
<tbody id="what-if" hidden>
{{ cost_row("One threshold for all, of the test messages", costs.on_test, "test") }}
{{ cost_row("One threshold for all, per million of your messages", costs.per_million, "million") }}
</tbody>
{{ end_table() }}
<form id="slider" hidden>
<p><label for="threshold">One threshold for all messages:</label>
<output id="threshold-value" for="threshold"></output></p>
<input type="range" id="threshold" min="0" max="{{ costs.curve.points|length - 1 }}"
value="{{ costs.curve.start }}">
<p><label for="share">Share of spam among your messages, in per cent:</label>
<input type="number" id="share" min="0" max="100" value="{{ costs.spam_percent }}"></p>
</form>
<script type="application/json" id="curve">{{ costs.curve|tojson }}</script>
{% endif %}

<h2 id="parts">{{ sections.parts }}</h2>
<p>Least spam is caught in: {{ least_caught }}. Most ham is lost in: {{ most_lost }}.
Parts of fewer than {{ least_rows }} messages are left out. The whole test set is the dashed line.
Languages have their ISO codes.</p>
{% for group, rows in slices.items() %}
<details><summary>By {{ group }}: {{ rows|length }} parts</summary>
{% for svg, caption in slice_charts[group] %}
{{ chart(svg, caption, caption ~ "; the table below has the numbers") }}
{% endfor %}
{{ begin_table("By " ~ group, [group|capitalize, "Messages", "Spam caught, %", "95 % interval",
"Ham lost, %", "95 % interval"], 5) }}
{% for row in rows %}
<tr><td>{{ row.name }}</td><td class="number">{{ "{:,}".format(row.rows) }}</td>
{% for figure in (row.caught, row.lost) %}
<td class="number">{{ "" if figure.value is none else figure.value|percent }}</td>
<td class="number">{{ figure|interval }}</td>
{% endfor %}</tr>
{% endfor %}
{{ end_table() }}</details>
{% endfor %}

{% if attacks %}
<h2 id="attacks">{{ sections.attacks }}</h2>
<p>Spammers edit their messages. The strongest attack on this model is
<b>{{ attacks[0].name }}</b>: {{ attacks[0].caught|percent }} % of edited spam is caught.
A number is the strength; docs/reference/reports.md explains each attack.</p>
<details><summary>All {{ attacks|length }} attacks</summary>
{{ begin_table("Attacks", ["Attack", "Spam caught, %", "by the baseline, %", "Ham lost, %"], 3) }}
{% for row in attacks %}
<tr><td>{{ row.name }}</td>{% for value in row[1:] %}
<td class="number">{{ "" if value is none else value|percent }}</td>{% endfor %}</tr>
{% endfor %}
{{ end_table() }}</details>
{% endif %}

<h2 id="misses">{{ sections.misses }}</h2>
{% if private %}
<p>The worst mistakes, with their texts as the model reads them. Words that speak
<mark class="spam">for spam</mark> and <mark class="ham">for ham</mark> are marked.</p>
{% for one in private.mistakes %}
<h3>{{ one.label|capitalize }} from {{ one.source }}, {{ (100 * one.probability)|percent }} % likely
to be spam{{ "" if one.wrong else "; the label is right" }}</h3>
<p class="detail muted">Message {{ one.message_id }}</p>
<p class="message" dir="auto">{% for text, speaks_for in one.parts %}
{%- if speaks_for %}<mark class="{{ speaks_for }}">{{ text }}</mark>{% else %}{{ text }}{% endif %}
{%- endfor %}</p>
{% endfor %}
{% elif mistakes %}
<p>The test messages on which the model is most certain of the wrong label. Their texts are on the
private page, which <code>python -m pipeline report --private</code> writes.</p>
<details><summary>{{ mistakes|length }} messages</summary>
{{ begin_table("Mistakes", ["Message", "Source", "What happened", "Probability of spam"], 1) }}
{% for one in mistakes %}
<tr><td>{{ one.message_id[:12] }}</td><td>{{ one.source }}</td>
<td>{{ "spam that gets through" if one.label == "spam" else "ham that is lost" }}</td>
<td class="number">{{ one.probability|share }}</td></tr>
{% endfor %}
{{ end_table() }}</details>
{% else %}
<p>The list of mistakes is not on this machine; <code>dvc repro evaluate</code> writes it.</p>
{% endif %}

{% if curves %}
<h2 id="curves">{{ sections.curves }}</h2>
<p>When the model says 80 %, 80 of 100 such messages should be spam. The calibration error, the mean
distance from that, is {{ calibration_error }}. Training: {{ training }}.</p>
{% for svg, caption in curves %}
{{ chart(svg, caption, caption) }}
{% endfor %}
{% endif %}

<h2 id="data">{{ sections.data }}</h2>
{{ begin_table("Data", ["What", "Messages"], 1) }}
{% for name, count in data_rows %}
<tr><td>{{ name }}</td><td class="number">{{ "{:,}".format(count) }}</td></tr>
{% endfor %}
{{ end_table() }}
<p>{{ drift }}</p>

<h2 id="lineage">{{ sections.lineage }}</h2>
<p>The commit that holds this page holds the code, the params and <code>dvc.lock</code>, too. The
hashes are those of the MLflow run and of the ledger.</p>
{{ begin_table("Lineage", ["What", "Value"]) }}
{% for name, value in lineage.items() %}
<tr><td>{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}
{{ end_table() }}
{{ begin_table("Stages", ["Stage", "Rows", "Result"]) }}
{% for stage, report in stages.items() %}
<tr><td>{{ stage }}</td><td>{{ "{:,}".format(report.rows) }}</td><td>{{ report.verdict }}</td></tr>
{% endfor %}
{{ end_table() }}

<h2 id="model-card">{{ sections["model-card"] }}</h2>
<dl class="card">
<dt>Intended use</dt>
<dd>To label short messages (SMS, chat, comments, mail) as ham or spam, for a filter whose owner
sees what it holds back.
{% if confident %}{{ confident|percent }} % of the labels are confident; people should review the
others.{% endif %}</dd>
<dt>Not intended</dt>
<dd>To judge people, to delete messages unseen, or to stop an attacker who may ask the model
again and again.</dd>
<dt>Data</dt>
<dd>Labelled messages of the sources above, each in one split only, without near-copies between
the splits. The figures are of a network that has not learned from the test messages, and nothing
is chosen on them. The network in service has learned from them too, unless train.refit is
false.</dd>
<dt>Limits</dt>
<dd>Nothing is promised for a source, a language or a kind of message that the data lacks. Labels
are the opinions of those who gave them. The threshold keeps the expected share of lost ham, not
that of each run. docs/how-to/reading-the-report.md explains this page.</dd>
</dl>
</main>
{% if costs %}<script>{{ script|safe }}</script>{% endif %}
"""
)

SLIDER_SCRIPT = """
"use strict";
const element = (id) => document.getElementById(id);
const curve = JSON.parse(element("curve").textContent);
const million = 1000000;
const threeDigits = (count) => Number(count.toPrecision(3));

function show(row, spam, ham, point, rounded) {
  const [, caught, lost] = point;
  const counts = [spam * caught, spam * (1 - caught), ham * lost, ham * (1 - lost)];
  counts.forEach((count, column) => {
    element(`${row}-${column}`).textContent = rounded(count).toLocaleString("en");
  });
}

function update() {
  const point = curve.points[element("threshold").value];
  const share = Math.min(Math.max(element("share").valueAsNumber || 0, 0), 100) / 100;
  element("threshold-value").textContent = point[0].toFixed(3);
  element("threshold").setAttribute("aria-valuetext", point[0].toFixed(3));
  show("test", curve.spam, curve.ham, point, Math.round);
  show("million", million * share, million * (1 - share), point, threeDigits);
}

element("slider").addEventListener("input", update);
element("slider").addEventListener("submit", (event) => event.preventDefault());
element("slider").hidden = element("what-if").hidden = false;
update();
"""

"""The page on which a person tries the filter: a message, a mail or a table of messages.

The script of the page asks the same endpoints as every other client. It shows what comes from
outside as text alone.
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pipeline.serving.http.akismet_api import FEEDBACK_OFF
from pipeline.serving.http.page_policy import content_policy
from pipeline.serving.verdict_text import LEAST_WEIGHT
from pipeline.validation.html_page import page_environment, render_page

TRY_PATH = "/"
TRY_TITLE = "Try the spam filter"
TRY_LEAD = "Paste a message, or drop a mail (.eml) or a table (.csv) anywhere on this page."
SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")

TRY_BODY = """\
<main data-least-weight="{{ least_weight }}" data-feedback-off="{{ feedback_off }}">
<form>
{% if needs_token %}
<label for="token">Token of this server <small>(it is forgotten when you close the tab)</small>
</label>
<input id="token" type="password" autocomplete="off">
{% endif %}
<label for="text">Message</label>
<textarea id="text" rows="5" placeholder="WIN a prize now!"></textarea>
<p class="actions"><button>Check the message</button>
<label>or a file: <input id="file" type="file" accept=".eml,.csv,.tsv"></label></p>
</form>
<p id="status" role="status"></p>
<section id="answer" aria-label="Answer" hidden>
<h2 id="label"></h2>
<div id="bar"><div id="filled"></div><div id="cut"></div></div>
<p id="probability"></p>
<p id="note"></p>
<p id="words"></p>
<p id="legend" class="muted"><mark class="spam">Marked like this</mark> speaks for spam,
<mark class="ham">like this</mark> for ham; the stronger, the more.</p>
<p><button id="wrong" type="button"></button> <span id="saved" role="status"></span></p>
</section>
<section id="table" aria-label="Answers to the table" hidden>
<h2 id="summary"></h2>
<p><button id="download" type="button">Download all rows with their labels</button></p>
<p class="muted" id="shown"></p>
<table><thead><tr><th>Label</th><th>Probability of spam</th><th>Message</th></tr></thead>
<tbody id="rows"></tbody></table>
</section>
<p class="muted"><span id="version"></span>
{% if not needs_token %}For programs: <a href="docs">how to ask this server</a>.{% endif %}</p>
</main>
<script>{{ script|safe }}</script>
"""
TRY_STYLE = """
form > label { display: block; margin: .8rem 0 .2rem }
textarea, #token { box-sizing: border-box; width: 100%; padding: .5rem }
textarea, input, button { font: inherit; color: inherit }
textarea, #token { background: var(--soft); border: 1px solid var(--muted); border-radius: 4px }
button { background: var(--soft); border: 1px solid var(--muted); border-radius: 4px }
button { padding: .4rem .9rem; cursor: pointer }
.actions { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center }
.actions label, input[type=file] { max-width: 100% }
.dropping textarea { outline: 2px dashed var(--link) }
#answer p, #answer h2 { margin: .5rem 0 }
#label { font-size: 1.6rem }
#bar { position: relative; height: 1rem; background: var(--soft); border: 1px solid var(--muted) }
#filled { height: 100%; background: var(--link) }
#cut { position: absolute; top: -.3rem; bottom: -.3rem; width: 3px; background: var(--text) }
#words:empty, #words:empty + p { display: none }
#words { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 20rem; overflow-y: auto }
#words { padding: .5rem; border: 1px solid var(--line) }
mark { color: var(--text); border-radius: 2px; text-decoration-thickness: 2px }
mark.spam { text-decoration-line: underline; text-decoration-color: var(--bad) }
mark.spam { --tone: var(--bad) }
mark.ham { text-decoration: underline dotted 2px var(--good); --tone: var(--good) }
mark { background: color-mix(in srgb, var(--tone) var(--strength, 20%), transparent) }
#rows td { overflow-wrap: anywhere }
#rows td:nth-child(-n+2) { white-space: nowrap; overflow-wrap: normal }
"""


def add_try_page(app: Starlette, takes_feedback: bool, needs_token: bool) -> None:
    """Adds the page at TRY_PATH, which itself needs no token."""
    page = try_page(takes_feedback, needs_token)

    async def show(request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": content_policy(page)})

    app.add_route(TRY_PATH, show)


def try_page(takes_feedback: bool, needs_token: bool) -> str:
    """The page as HTML. It sends nothing to other machines."""
    body = (
        page_environment()
        .from_string(TRY_BODY)
        .render(
            least_weight=LEAST_WEIGHT,
            feedback_off="" if takes_feedback else FEEDBACK_OFF,
            needs_token=needs_token,
            script=SCRIPT,
        )
    )
    return render_page(TRY_TITLE, TRY_LEAD, body, TRY_STYLE)

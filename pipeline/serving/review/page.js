
"use strict"
const $ = id => document.getElementById(id)
const NAME_KEY = "review.reviewer"
const NEAR_END = 20 // rows before the end of the list at which more are loaded
const MARKS = { spam: "spam", ham: "ham", ban: "kept out" }
const view = { queues: [], queue: null, rows: [], left: 0, place: -1, shown: null, masked: true }
const mine = [] // messages that this reviewer decided about, the last one last

// ---- requests

async function ask(path, body) {
  const options = body && {
    method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" }
  }
  const response = await fetch(path, options)
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.message)
  return answer
}

const messagePath = (row, rest = "") =>
  `/api/items/${row.queue}/${row.id}${rest}?masked=${view.masked}`

// Actions run one after another, so that each key acts on the message that its person saw.
let last = Promise.resolve()
function enqueue(action) {
  last = last.then(action).catch(error => say(`Not done: ${error.message}`))
}

function say(text) { $("status").textContent = text }

function element(tag, text = "", className = "") {
  const made = document.createElement(tag)
  made.textContent = text
  made.className = className
  return made
}

// Marks ⟦...⟧, in which the server writes what is masked or cannot be seen.
function fillText(target, text) {
  const parts = text.split(/(⟦[^⟧]{1,20}⟧)/)
  target.replaceChildren(...parts.map((part, i) => i % 2 ? element("mark", part) : part))
}

// ---- queues and filters

async function loadQueues() {
  const answer = await ask("/api/queues")
  view.queues = answer.queues
  $("note").textContent = answer.note
  $("note").hidden = !answer.note
  if (!view.queue) {
    const full = view.queues.find(queue => queue.open) || view.queues[0]
    view.queue = full.name
    fillFilters()
  }
  showQueues()
}

function showQueues() {
  $("queues").replaceChildren(...view.queues.map(queue => {
    const button = element("button", `${queue.title} ${queue.open.toLocaleString("en")}`)
    button.type = "button"
    if (queue.name === view.queue) button.setAttribute("aria-current", "true")
    button.title = `${queue.open} of ${queue.total} to decide`
    button.onclick = () => enqueue(() => openQueue(queue.name))
    return button
  }))
}

const thisQueue = () => view.queues.find(queue => queue.name === view.queue)

function fillFilters() {
  for (const [id, counts] of [["source", thisQueue().sources], ["reason", thisQueue().reasons]]) {
    const sorted = Object.entries(counts).sort((a, b) => b[1] - a[1])
    const options = sorted.map(([name, count]) => new Option(`${name} (${count})`, name))
    $(id).replaceChildren(new Option("all", ""), ...options)
  }
}

async function openQueue(name) {
  view.queue = name
  $("search").value = ""
  fillFilters()
  await loadList()
}

// ---- the list

async function loadList() {
  view.rows = []
  view.place = -1
  $("list").replaceChildren()
  await loadQueues()
  await loadMore()
  await select(0)
}

async function loadMore() {
  const rows = view.rows
  const query = new URLSearchParams({
    queue: view.queue, after: rows.length ? rows[rows.length - 1].place : -1,
    search: $("search").value, source: $("source").value,
    reason: $("reason").value, state: $("state").value
  })
  const answer = await ask(`/api/items?${query}`)
  view.left = answer.left
  for (const row of answer.items) addRow({ ...row, queue: view.queue })
}

function addRow(row) {
  const number = view.rows.push(row) - 1
  row.button = element("button")
  row.button.type = "button"
  row.button.tabIndex = -1
  row.button.onclick = () => enqueue(() => select(number))
  showRow(row)
  const line = element("li")
  line.append(row.button)
  $("list").append(line)
}

function showRow(row) {
  const mark = MARKS[row.decision]
  const parts = [row.snippet]
  if (mark) parts.unshift(element("b", mark, row.decision), " ")
  row.button.replaceChildren(...parts)
}

const selected = () => view.rows[view.place]

async function select(place) {
  const before = selected()
  if (before) {
    before.button.removeAttribute("aria-current")
    before.button.tabIndex = -1
  }
  if (place >= view.rows.length - NEAR_END && view.left) await loadMore()
  view.place = Math.max(0, Math.min(place, view.rows.length - 1))
  const row = selected()
  $("card").hidden = !row
  $("empty").hidden = !!row
  if (!row) return showEmpty()
  row.button.setAttribute("aria-current", "true")
  row.button.tabIndex = 0
  const list = $("list")
  const { offsetTop, offsetHeight } = row.button.parentNode
  const top = offsetTop - list.offsetTop
  list.scrollTop = Math.max(top + offsetHeight - list.clientHeight, Math.min(top, list.scrollTop))
  row.button.focus({ preventScroll: true })
  view.masked = true
  $("reasons").hidden = true
  await showMessage()
}

function showEmpty() {
  const queue = thisQueue()
  if (queue.total) $("empty").textContent = "Nothing here is left to show."
  else $("empty").replaceChildren("This queue is empty. This fills it: ", element("code", queue.remedy))
}

// ---- the message

async function showMessage(whole = false) {
  const row = selected()
  const item = view.shown = await ask(messagePath(row) + (whole ? "&whole=true" : ""))
  fillText($("text"), item.text || "(no text)")
  $("text").scrollTop = 0
  const label = item.is_served ? "no label yet" : `label: ${item.label || "none that counts"}`
  const rows = item.rows > 1 ? `${item.rows} rows` : ""
  $("about").textContent = [item.source, label, rows, item.detail].filter(Boolean).join(" · ")
  $("cut").hidden = !item.is_cut
  $("cut").firstElementChild.textContent = `The text has ${item.characters.toLocaleString("en")} characters.`
  $("mask").hidden = !item.has_masked
  $("mask").firstChild.textContent = view.masked ? "Show private parts " : "Mask private parts "
  document.querySelector("[data-decision=ban]").hidden = item.is_served
  showDecisions(row, item.decisions)
}

function showDecisions(row, decisions) {
  const holds = decisions[decisions.length - 1]
  const wasOpen = !row.decision // another reviewer may have decided meanwhile
  row.decision = holds ? holds.decision : null
  count(row, wasOpen - !row.decision)
  showRow(row)
  if (view.shown.id !== row.id) return
  const others = decisions.filter(one => holds && one.decision !== holds.decision)
  const before = others.map(one => `${one.reviewer} said ${MARKS[one.decision]} before`)
  const sentence = holds && `${holds.reviewer} decided: ${MARKS[holds.decision]}`
  $("decided").textContent = holds ? [sentence, ...before].join("; ") + "." : ""
}

async function decide(decision, row = selected()) {
  if (!row) return
  const reviewer = await reviewerName()
  if (!reviewer) return
  const body = { queue: row.queue, message_id: row.id, decision, reviewer }
  const { decisions } = await ask("/api/decisions", body)
  showDecisions(row, decisions)
  const otherwise = decisions.filter(one => one.reviewer !== reviewer && one.decision !== row.decision)
  const names = [...new Set(otherwise.map(one => `${one.reviewer} decided ${MARKS[one.decision]}`))]
  const done = decision === "undo" ? "Undone" : `Saved: ${MARKS[decision]}`
  say([done, ...names].join("; ") + ".")
  if (decision === "undo") return
  mine.push(row)
  if (row === selected() && view.place < view.rows.length - 1) await select(view.place + 1)
}

function count(row, change) {
  view.queues.find(queue => queue.name === row.queue).open -= change
  showQueues()
}

async function undo() {
  const reviewer = await reviewerName()
  const isMine = view.shown && view.shown.decisions.some(one => one.reviewer === reviewer)
  const row = isMine && selected().decision ? selected() : mine.pop()
  if (!row) return say("Nothing to undo.")
  await decide("undo", row)
  const place = view.rows.indexOf(row)
  if (place >= 0) await select(place)
}

async function toggleMask() {
  view.masked = !view.masked
  await showMessage()
  if (!$("reasons").hidden) await showReasons()
}

async function showReasons() {
  const { problem } = await ask("/api/model")
  $("reasons").hidden = false
  $("reasons").replaceChildren(element("p", problem ? `No reasons: ${problem}.` : "Asking the model…"))
  if (problem) return
  const answer = await ask(messagePath(selected(), "/reasons"))
  const verdict = `Version ${answer.version} says ${answer.label}: ` +
    `it gives spam a probability of ${answer.percent} %.`
  $("reasons").replaceChildren(
    element("p", verdict), words("Speak for spam", answer.spam), words("Speak for ham", answer.ham))
}

function words(title, list) {
  const box = element("div")
  const lines = element("ul")
  for (const word of list) {
    const line = element("li")
    const text = element("bdi")
    fillText(text, word.text)
    line.append(text, element("span", ` ${word.weight > 0 ? "+" : ""}${word.weight.toFixed(1)}`, "muted"))
    lines.append(line)
  }
  box.append(element("b", title), list.length ? lines : element("p", "no word", "muted"))
  return box
}

// ---- the reviewer

function storedName() { return localStorage.getItem(NAME_KEY) || "" }

function showName() { $("who").textContent = storedName() || "nobody yet" }

function askName() {
  $("reviewer").value = storedName()
  $("name").showModal()
  return new Promise(resolve => $("name").addEventListener("close", () => {
    const name = $("reviewer").value.trim()
    if (name) localStorage.setItem(NAME_KEY, name)
    showName()
    resolve(storedName())
  }, { once: true }))
}

async function reviewerName() { return storedName() || askName() }

// ---- keys and clicks

const KEYS = {
  s: () => decide("spam"),
  h: () => decide("ham"),
  b: () => view.shown && !view.shown.is_served && decide("ban"),
  u: undo,
  m: toggleMask,
  w: showReasons,
  j: () => select(view.place + 1),
  k: () => select(view.place - 1)
}
KEYS.ArrowDown = KEYS.j
KEYS.ArrowUp = KEYS.k

document.addEventListener("keydown", event => {
  const field = event.target.closest("input, select, dialog[open]")
  if (event.key === "Escape" && event.target === $("search")) return event.target.blur()
  if (field || event.ctrlKey || event.metaKey || event.altKey) return
  const scrolls = event.target === $("text") && event.key.startsWith("Arrow")
  if (event.key === "/") $("search").focus()
  else if (event.key === "?") $("help").showModal()
  else if (event.key in KEYS && !scrolls) enqueue(KEYS[event.key])
  else return
  event.preventDefault()
})

for (const button of document.querySelectorAll("[data-decision]")) {
  button.onclick = () => enqueue(() => decide(button.dataset.decision))
}
$("undo").onclick = () => enqueue(undo)
$("mask").onclick = () => enqueue(toggleMask)
$("why").onclick = () => enqueue(showReasons)
$("whole").onclick = () => enqueue(() => showMessage(true))
$("rename").onclick = askName
$("helping").onclick = () => $("help").showModal()
$("filters").onsubmit = event => event.preventDefault()
$("filters").onchange = () => enqueue(loadList)
showName()
enqueue(loadList)
enqueue(() => ask("/api/model"))

"use strict";
// Texts and answers enter the page through textContent alone, so that no message becomes markup.

const part = (id) => document.getElementById(id);
const { leastWeight, feedbackOff } = document.querySelector("main").dataset;
const CHUNK_ROWS = 200; // of a table in one request, so that progress shows
const CHUNK_CHARACTERS = 200000; // the server takes 1 MiB, and a character has up to 4 bytes
const SHOWN_ROWS = 20;
const LEAST_SHARE = 0.1; // of the heaviest word's weight, for a word to be marked
const PAUSE = 2000; // milliseconds between two looks at whether the server is ready

// ---- the server

async function ask(path, body, type = "application/json") {
  const headers = { "Content-Type": type };
  if (part("token")?.value) headers.Authorization = `Bearer ${part("token").value.trim()}`;
  let response;
  try {
    response = await fetch(path, { method: "POST", headers, body });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(explain(response.status, content.message));
  return content;
}

function explain(status, message = `status ${status}`) {
  if (status === 401) return "This server needs a token: put one into the field above.";
  if (status === 429) return "The server is busy. Try again in some seconds.";
  return `The server refuses this: ${message}.`;
}

async function showVersion() {
  const state = await fetch("ready").then((response) => response.json()).catch(() => null);
  if (!state) return;
  const starting = "The server is starting: the first answers take some seconds.";
  show("version", state.ready ? `Model version ${state.version}.` : starting);
  if (!state.ready) setTimeout(showVersion, PAUSE);
}

// ---- one message

let current = null; // text and label of the answer on the page

function percent(share) {
  return `${Math.min(99.9, Math.floor(share * 1000) / 10).toFixed(1)} %`; // as `predict` rounds
}

function showAnswer(text, answer) {
  current = { text, label: answer.label };
  const other = answer.label === "spam" ? "ham" : "spam";
  part("label").textContent = answer.label === "spam" ? "Spam" : "Ham (not spam)";
  part("filled").style.width = `${100 * answer.probability}%`;
  part("cut").style.left = `calc(${100 * answer.threshold}% - 1px)`;
  part("probability").textContent =
    `Probability of spam ${percent(answer.probability)}; ` +
    `from ${percent(answer.threshold)} (the line) a message is labelled spam.`;
  const doubt = "The filter is not sure: a person should look.";
  const problem = `In a file this message would get no label: ${answer.refused}.`;
  const sure = answer.confident ? "The filter is confident." : doubt;
  show("note", answer.refused ? `${sure} ${problem}` : sure);
  show("version", `Model version ${answer.model_version}.`);
  part("words").replaceChildren(...markedWords(answer.reasons.words));
  part("wrong").textContent = `That is wrong: it is ${other}`;
  part("saved").textContent = "";
  part("answer").hidden = false;
}

function markedWords(words) {
  const heaviest = Math.max(...words.map((word) => Math.abs(word.weight)));
  const least = Math.max(Number(leastWeight), heaviest * LEAST_SHARE);
  return words.flatMap(({ text, weight }) => {
    if (Math.abs(weight) < least) return [text];
    const word = text.trimStart();
    const mark = document.createElement("mark");
    mark.textContent = word;
    mark.className = weight > 0 ? "spam" : "ham";
    mark.style.setProperty("--strength", `${(40 * Math.abs(weight)) / heaviest}%`);
    return [text.slice(0, text.length - word.length), mark];
  });
}

async function checkText(text) {
  if (!text.trim()) throw new Error("Paste a message first.");
  showAnswer(text, await ask("score?explain=true", JSON.stringify({ text })));
}

async function checkMail(file) {
  const answer = await ask("score?explain=true", file, "message/rfc822");
  showAnswer(answer.reasons.words.map((word) => word.text).join(""), answer);
}

async function sendFeedback() {
  if (feedbackOff) throw new Error(`Not saved: ${feedbackOff}.`);
  const label = current.label === "spam" ? "ham" : "spam";
  await ask("feedback", JSON.stringify({ text: current.text, label, source: "try page" }));
  return `Saved as ${label}, for the next training.`;
}

// ---- a table

function parseTable(content) {
  // rows of cells; quoted cells may hold separators, line ends and doubled quotation marks
  const separator = [",", ";", "\t"].find((one) => splitLine(content, one)) ?? ",";
  const cell = new RegExp(`("(?:[^"]|"")*"|[^"\\r\\n${separator}]*)(${separator}|\\r?\\n|$)`, "y");
  const rows = [[]];
  while (cell.lastIndex < content.length) {
    const found = cell.exec(content);
    if (!found) throw new Error(`Row ${rows.length - 1} of the table has a stray quotation mark.`);
    const [, value, end] = found;
    rows.at(-1).push(value.startsWith('"') ? value.slice(1, -1).replaceAll('""', '"') : value);
    if (end !== separator && cell.lastIndex < content.length) rows.push([]);
  }
  return rows.filter((row) => row.length > 1 || row[0]);
}

function splitLine(content, separator) {
  const [line] = content.split(/\r?\n/, 1);
  const names = line.split(separator).map((name) => name.replaceAll('"', ""));
  return names.includes("text");
}

function* chunks(records) {
  let chunk = [], characters = 0;
  for (const record of records) {
    const full = chunk.length === CHUNK_ROWS || characters + record.text.length > CHUNK_CHARACTERS;
    if (chunk.length && full) {
      yield chunk;
      chunk = [];
      characters = 0;
    }
    chunk.push(record);
    characters += record.text.length;
  }
  if (chunk.length) yield chunk;
}

async function checkTable(file) {
  let content;
  try {
    content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error("The table is not in UTF-8. Save it as “CSV UTF-8” and try again.");
  }
  const [columns = [], ...rows] = parseTable(content);
  const text = columns.indexOf("text"), source = columns.indexOf("source");
  if (text < 0) throw new Error("The first line of the table must name a column “text”.");
  const uneven = rows.findIndex((row) => row.length !== columns.length);
  if (uneven >= 0) {
    throw new Error(
      `Row ${uneven + 1} of the table has ${rows[uneven].length} cells, but there are ` +
        `${columns.length} columns. Put a text with a separator in quotation marks.`,
    );
  }
  const records = rows.map((row) => ({ text: row[text], source: row[source] || null }));
  if (!records.length) throw new Error("The table has no rows.");
  const answers = [];
  for (const chunk of chunks(records)) {
    answers.push(...(await ask("score", JSON.stringify(chunk))));
    show("status", `${grouped(answers.length)} of ${grouped(records.length)} messages …`);
  }
  showTable(file.name, columns, rows, records, answers);
}

const grouped = (count) => count.toLocaleString("en"); // such as 1,200

function showTable(name, columns, rows, records, answers) {
  const count = (condition) => grouped(answers.filter(condition).length);
  const unsure = count((one) => !one.confident), refused = count((one) => one.refused);
  const sentences = [
    unsure !== "0" && `Not sure, for a person to look at: ${unsure}.`,
    refused !== "0" && `With a problem, which the download names: ${refused}.`,
    answers.length > SHOWN_ROWS && `These are the first ${SHOWN_ROWS} rows.`,
  ];
  show("summary", `${count(() => true)} messages: ${count((one) => one.label === "spam")} spam, ` +
    `${count((one) => one.label === "ham")} ham`);
  show("shown", sentences.filter(Boolean).join(" "));
  show("version", `Model version ${answers[0].model_version}.`);
  part("rows").replaceChildren(...answers.slice(0, SHOWN_ROWS).map((answer, row) => {
    const line = document.createElement("tr");
    const label = answer.label + (answer.confident ? "" : ", not sure");
    for (const cell of [label, percent(answer.probability), records[row].text]) {
      line.insertCell().textContent = cell;
    }
    return line;
  }));
  const added = ["label", "probability", "confident", "refused", "model_version"];
  const lines = [
    [...columns, ...added.map((one) => (columns.includes(one) ? `${one}_of_the_filter` : one))],
    ...rows.map((row, number) => [
      ...row,
      ...added.map((one) => answers[number][one] ?? ""),
    ]),
  ];
  part("download").onclick = () => download(name.replace(/\.\w+$/, "-labelled.csv"), lines);
  part("table").hidden = false;
}

function download(name, lines) {
  const quoted = (cell) => `"${String(cell).replaceAll('"', '""')}"`;
  const content = lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", content], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), PAUSE);
}

// ---- what a person does

function show(id, sentence) {
  part(id).textContent = sentence;
}

async function run(id, action) {
  show(id, "One moment …");
  try {
    show(id, (await action()) ?? "");
  } catch (error) {
    show(id, error.message);
  }
}

function check(action) {
  part("answer").hidden = part("table").hidden = true;
  return run("status", action);
}

function checkFile(file) {
  if (!file) return;
  const action = /\.(csv|tsv)$/i.test(file.name) ? checkTable : checkMail;
  check(() => action(file));
}

document.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  check(() => checkText(part("text").value));
});
part("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
});
part("file").addEventListener("change", (event) => {
  checkFile(event.target.files[0]);
  event.target.value = ""; // so that the same file can be chosen again
});
part("wrong").addEventListener("click", () => run("saved", sendFeedback));
for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", over);
    if (name === "drop") checkFile(event.dataTransfer.files[0]);
  });
}
showVersion();

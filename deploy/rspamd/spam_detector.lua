-- Asks the spam detector's server about each mail. Install it as
-- /etc/rspamd/lua.local.d/spam_detector.lua; settings in /etc/rspamd/rspamd.conf.local:
--   spam_detector { url = "http://127.0.0.1:5001/score"; token = "..."; timeout = 5.0; }
-- A mail gets one symbol, whose option is the probability of spam. If the server does not answer,
-- it gets SPAM_DETECTOR_FAIL, which changes no score.
local rspamd_http = require "rspamd_http"
local rspamd_logger = require "rspamd_logger"
local ucl = require "ucl"

local MAX_BYTES = 1000000 -- of a mail that are sent; the server accepts 1 MiB
local SCORES = { -- the weight of each symbol
  SPAM_DETECTOR_SPAM = 8.0,
  SPAM_DETECTOR_MAYBE_SPAM = 3.0, -- the server is not confident
  SPAM_DETECTOR_MAYBE_HAM = 0.0,
  SPAM_DETECTOR_HAM = -1.0,
  SPAM_DETECTOR_FAIL = 0.0,
}

local settings = rspamd_config:get_all_opt("spam_detector") or {}
local url = settings.url or "http://127.0.0.1:5001/score"
local headers = { ["Content-Type"] = "message/rfc822" }
if settings.token then
  headers["Authorization"] = "Bearer " .. settings.token
end

local function symbol_of(answer)
  local label = answer.label == "spam" and "SPAM" or "HAM"
  return "SPAM_DETECTOR_" .. (answer.confident and label or "MAYBE_" .. label)
end

local function ask(task)
  local function fail(problem)
    rspamd_logger.errx(task, "spam_detector: %s", problem)
    task:insert_result("SPAM_DETECTOR_FAIL", 1.0)
  end
  local function on_answer(problem, code, body)
    if problem or code ~= 200 then
      return fail(problem or "status " .. tostring(code))
    end
    local parser = ucl.parser()
    if not parser:parse_string(tostring(body)) then
      return fail("the answer is not JSON")
    end
    local answer = parser:get_object()
    task:insert_result(symbol_of(answer), 1.0, string.format("%.4f", answer.probability))
  end
  local sent = rspamd_http.request({
    task = task,
    url = url,
    method = "POST",
    headers = headers,
    body = tostring(task:get_content()):sub(1, MAX_BYTES),
    timeout = tonumber(settings.timeout) or 5.0,
    callback = on_answer,
  })
  if not sent then
    fail("no connection")
  end
end

local check = rspamd_config:register_symbol({
  name = "SPAM_DETECTOR_CHECK",
  type = "callback",
  callback = ask,
})
for name, score in pairs(SCORES) do
  rspamd_config:register_symbol({ name = name, type = "virtual", parent = check })
  rspamd_config:set_metric_symbol({ name = name, score = score, group = "spam_detector" })
end

"""The contract of every table that the pipeline writes: columns, units and allowed values.

Parquet tables are written with these types. CSV tables take their column names from here.
"""

import pyarrow as pa

FEEDBACK_SOURCE = "feedback"  # a source, and its folder in data/inbox/: its labels overrule others

# ---- messages

_MESSAGE_ID = pa.field("message_id", pa.string())  # 32 hex digits: sha256 of the text alone
_TEXT = pa.field("text", pa.string())  # as it arrived, not normalised
_LABEL = pa.field("label", pa.string())  # ham or spam; before validate, whatever the source wrote
_SOURCE = pa.field("source", pa.string())  # a pinned source's name, `files/PATH` or `feedback/PATH`
_ROW = pa.field("row", pa.int64())  # position in the source, from 1, without the header
_RECEIVED_AT = pa.field("received_at", pa.timestamp("us", tz="UTC"))  # null if not known
_KIND = pa.field("kind", pa.string())  # of message, such as parcel_fee; null if not known
_LANGUAGE = pa.field("language", pa.string())  # such as en (ISO 639); null if not known
_CAMPAIGN_KEY = pa.field("campaign_key", pa.string())  # 16 hex digits: min-hash of the masked text
_PROBABILITY = pa.field("probability", pa.float64())  # calibrated P(spam), in [0, 1]

MESSAGES = pa.schema(  # data/ingested/messages.parquet
    [_MESSAGE_ID, _TEXT, _LABEL, _SOURCE, _ROW, _RECEIVED_AT, _KIND, _LANGUAGE]
)
EXTRACT = pa.schema(  # data/inbox/NAME/TIME.parquet: the rows of a database query
    [_TEXT, _LABEL, _RECEIVED_AT]
)

MAIL_EXTRACT = pa.schema(  # the same of a mailbox, and data/inbox/feedback/NAME/TIME.parquet
    [
        *EXTRACT,
        pa.field("mail_id", pa.string()),  # Message-ID; null if it has none
        pa.field("mail_key", pa.string()),  # 32 hex digits: sha256 of Message-ID and text
    ]
)

# ---- validate

VALIDATED = pa.schema(  # data/validated/messages.parquet: one row per text
    [
        *MESSAGES,
        pa.field("copies", pa.int64()),  # number of ingested rows with this text, at least 1
    ]
)
QUARANTINE = pa.schema(  # data/review/quarantine.parquet
    [
        *MESSAGES,
        pa.field("reasons", pa.string()),  # names in EXPECTATIONS, joined by ", "
    ]
)
QUARANTINE_BY_MONTH = pa.schema(  # reports/quarantine.csv
    {
        "month": pa.string(),  # YYYY-MM of received_at, else of a date in the file name; or undated
        "reason": pa.string(),  # name in EXPECTATIONS; none if nothing is in quarantine
        "rows": pa.int64(),  # rows with this reason; a row may have several
    }
)

# ---- vectorize

SPLITS = pa.schema(  # data/vectorized/splits.parquet: one row per validated message
    [
        _MESSAGE_ID,
        pa.field("split", pa.string()),  # train, val, test or newest
        _CAMPAIGN_KEY,
        pa.field("left_out", pa.bool_()),  # retired, or a near-copy of a row in a higher split
    ]
)
SHARD = pa.schema(  # data/vectorized/train, val and test (without the newest messages)
    [
        _MESSAGE_ID,
        _CAMPAIGN_KEY,
        pa.field("token_ids", pa.list_(pa.int32())),  # 1 to sequence_length ids, without padding
        pa.field("label", pa.int8()),  # 1 is spam, 0 is ham
    ]
)
OUT_OF_FOLD = pa.schema(  # models/out_of_fold.parquet: the rows of train, or none
    [
        _MESSAGE_ID,
        pa.field("score", pa.float64()),  # of a network that was trained without the row's campaign
    ]
)
LENGTHS = pa.schema(  # reports/profile/lengths_SPLIT.csv: the quantile function of two lengths
    {
        "percentile": pa.int64(),  # 0, 5, ..., 100
        "characters": pa.float64(),  # per message
        "tokens": pa.float64(),  # per message; empty if the split was not tokenized
    }
)
SCRIPTS = pa.schema(  # reports/profile/scripts_SPLIT.csv
    {
        "script": pa.string(),  # lower-case Unicode name, such as latin
        "share": pa.float64(),  # of the split's letters, in [0, 1]
    }
)
TERMS = pa.schema(  # reports/profile/terms_LABEL.csv: the most typical words of a class in train
    {
        "term": pa.string(),  # a word of letters alone
        "log_odds": pa.float64(),  # natural logarithm, spam against ham; above 0 is typical of spam
        "spam": pa.int64(),  # spam messages with the term
        "ham": pa.int64(),  # ham messages with the term
    }
)

# ---- train

TRAINING_CURVES = pa.schema(  # reports/curves.csv: one row per epoch
    {
        "epoch": pa.int64(),  # from 1
        "loss": pa.float64(),  # binary cross-entropy on the rows trained on, nats
        "accuracy": pa.float64(),  # on the rows trained on, in [0, 1]
        "stop_loss": pa.float64(),  # on the campaigns kept aside for early stopping, nats
        "stop_accuracy": pa.float64(),  # on the campaigns kept aside, in [0, 1]
        "stop_average_precision": pa.float64(),  # on the campaigns kept aside, in [0, 1]
    }
)

# ---- evaluate

MISTAKES = pa.schema(  # data/review/mistakes.parquet: worst first
    [
        *MESSAGES,
        _PROBABILITY,
        pa.field("wrong", pa.bool_()),  # whether the predicted label differs from `label`
    ]
)
PRECISION_RECALL_CURVE = pa.schema(  # reports/plots/precision_recall.csv
    {
        "recall": pa.float64(),  # share of spam caught, in [0, 1]
        "precision": pa.float64(),  # share of caught messages that are spam, in [0, 1]
        "threshold": pa.float64(),  # probability of spam, in [0, 1]
    }
)
ROC_CURVE = pa.schema(  # reports/plots/roc.csv
    {
        "ham_lost": pa.float64(),  # false positive rate, in [0, 1]
        "spam_caught": pa.float64(),  # recall, in [0, 1]
        "threshold": pa.float64(),  # probability of spam; empty for the point (0, 0)
    }
)
CALIBRATION_CURVE = pa.schema(  # reports/plots/calibration.csv: ten bins of equal mass
    {
        "probability": pa.float64(),  # mean predicted probability of spam in the bin
        "spam_share": pa.float64(),  # share of spam in the bin, in [0, 1]
        "rows": pa.int64(),  # messages in the bin
    }
)
SCORE_HISTOGRAM = pa.schema(  # reports/plots/scores.csv: twenty bins of equal width
    {
        "probability": pa.float64(),  # centre of the bin
        "ham": pa.int64(),  # messages
        "spam": pa.int64(),  # messages
    }
)
CONFUSION_PAIRS = pa.schema(  # reports/plots/confusion.csv: one row per test message
    {
        "predicted": pa.string(),  # ham or spam
        "actual": pa.string(),  # ham or spam
    }
)

# ---- registry, serving, monitoring

SEEN_ROWS = pa.schema(  # seen.parquet in the MLflow model: rows that the model learned from
    [
        _MESSAGE_ID,
        pa.field("split", pa.string()),  # train or val; test: of the network that serves alone
        _CAMPAIGN_KEY,
    ]
)
SCORES = pa.schema(  # columns that `python -m pipeline score` adds to those of its input
    [
        _LABEL,  # ham or spam; null if the text is null
        _PROBABILITY,  # null if the text is null
        pa.field("threshold", pa.float64()),  # spam is at least this probability
        pa.field("confident", pa.bool_()),  # False: the message may have the other label
        pa.field("model_version", pa.string()),  # number of the registered version
        pa.field("scored_at", pa.timestamp("us", tz="UTC")),  # in whole seconds
        pa.field("refused", pa.string()),  # expectations that the text breaks, joined by ", "
    ]
)
DISPUTED_LABELS = pa.schema(  # output of `python -m pipeline label-noise`: most disputed first
    [
        _MESSAGE_ID,
        _TEXT,
        _LABEL,
        pa.field("suggested", pa.string()),  # the other label
        pa.field("score", pa.float64()),  # P(label), in (0, 0.5), by a model without its campaign
        _SOURCE,
        _ROW,
    ]
)

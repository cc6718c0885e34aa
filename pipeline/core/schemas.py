"""The schema of every table."""

import pyarrow as pa

MESSAGES = pa.schema(
    {
        "message_id": pa.string(),  # first 16 hexadecimal digits of sha256 of the text
        "text": pa.string(),
        "label": pa.string(),  # ham or spam; anything else is as it came, for validate to judge
        "source": pa.string(),  # `sms`, or `files/NAME`
        "row": pa.int64(),  # where it stood in the source, from 1, a header not counted
        "received_at": pa.timestamp("us", tz="UTC"),  # null where neither row nor path has a date
    }
)
FEEDBACK_SOURCE = "feedback"  # the source, and the folder of data/inbox/, whose labels overrule others
DISPUTED_LABELS = pa.schema(
    {
        **{name: MESSAGES.field(name).type for name in ("message_id", "text", "label")},
        "suggested": pa.string(),  # the other label
        "score": pa.float64(),  # of the label that it has, in (0, 1), by a model that never saw its campaign
        **{name: MESSAGES.field(name).type for name in ("source", "row")},
    }
)

VALIDATED = MESSAGES.append(pa.field("copies", pa.int64()))  # rows that came with this text
QUARANTINE = pa.schema(
    [
        MESSAGES.field(name)
        for name in ("message_id", "text", "label", "source", "row", "received_at")
    ]
    + [pa.field("reasons", pa.string())]  # names of EXPECTATIONS
)
SPLITS = pa.schema(
    {
        "message_id": pa.string(),
        "split": pa.string(),  # of RANK
        "campaign_key": pa.string(),  # 16 hexadecimal digits
        "left_out": pa.bool_(),  # retired, or like a row of a higher split (newest also by its campaign)
    }
)
SHARD = pa.schema(
    {
        "message_id": pa.string(),
        "campaign_key": pa.string(),
        "token_ids": pa.list_(pa.int32()),  # at least one, at most sequence_length
        "label": pa.int8(),  # spam is 1
    }
)
MISTAKES = MESSAGES.append(pa.field("probability", pa.float64())).append(
    pa.field("wrong", pa.bool_())
)

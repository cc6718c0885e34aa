"""The article's way, as its readers would type it: one script, word ids padded to 100, fit, predict."""

import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers

EPOCHS, LENGTH, WORDS = 5, 100, 10_000


def main() -> None:
    messages, splits = map(pd.read_parquet, map(Path, sys.argv[1:3]))
    rows = messages.merge(splits, on="message_id").query("not left_out")
    train, test = (rows[rows["split"] == name] for name in ("train", "test"))

    vectorizer = layers.TextVectorization(max_tokens=WORDS, output_sequence_length=LENGTH)
    vectorizer.adapt(train["text"].tolist())
    model = keras.Sequential(
        [
            layers.Embedding(WORDS, 64),
            layers.Bidirectional(layers.LSTM(64)),
            layers.Dense(16, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(loss="binary_crossentropy", optimizer="adam", metrics=["accuracy"])
    spam = (train["label"] == "spam").to_numpy(np.float32)
    model.fit(vectorizer(train["text"].tolist()), spam, epochs=EPOCHS, batch_size=32, verbose=0)
    probability = model.predict(vectorizer(test["text"].tolist()), verbose=0)[:, 0]
    print(
        f"accuracy {np.mean((probability >= 0.5) == (test['label'] == 'spam')):.4f} on {len(test)} messages"
    )


if __name__ == "__main__":
    main()

"""The article's model as a reader would write it; prints its accuracy on test.

python benchmarks/article.py MESSAGES SPLITS
"""

import sys

import keras
import numpy as np
import pandas as pd
from keras import layers

WORDS = 10_000  # vocabulary
messages, splits = (pd.read_parquet(path) for path in sys.argv[1:3])
rows = messages.merge(splits, on="message_id").query("not left_out")
train = rows[rows["split"] == "train"]
test = rows[rows["split"] == "test"]

vectorizer = layers.TextVectorization(max_tokens=WORDS, output_sequence_length=100)
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
model.fit(vectorizer(train["text"].tolist()), spam, epochs=5, batch_size=32, verbose=0)
probability = model.predict(vectorizer(test["text"].tolist()), verbose=0)[:, 0]
accuracy = np.mean((probability >= 0.5) == (test["label"] == "spam"))
print(f"accuracy {accuracy:.4f} on {len(test)} messages")

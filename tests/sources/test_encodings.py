"""The encoding of a file is guessed from its own bytes, and must decode all of them."""

import pytest

from pipeline.sources.encodings import other_encoding

TEXTS = {
    "cp1252": "it’s £5 – call “now”\nI’m at Zoë’s café\n",
    "cp1250": "zażółć gęślą jaźń\nproszę zadzwoń jutro wieczorem\n",
    "koi8_r": "напоминание, встреча перенесена на завтра в шесть\n",
    "gb18030": "明天下午三点在图书馆见面，别忘了带书\n",
    "utf_8": "it’s £5 – call “now”, Zoë\n",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_other_encoding_of_a_file_is_found(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\n" + TEXTS[encoding].encode(encoding))
    assert other_encoding(path, "ascii") == encoding
    assert other_encoding(path, encoding.upper()) is None


def test_file_with_a_damaged_line_keeps_its_encoding(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("Zoë\ncafé\n".encode() + "Zoë\n".encode("cp1252"))
    assert other_encoding(path, "utf-8") is None


def test_file_that_is_no_text_has_no_encoding(tmp_path):
    path = tmp_path / "a.parquet"
    assert other_encoding(path, "utf-8") is None
    path.write_bytes(b"PAR1\x00\x00\xff\xfe\x81\x00")
    assert other_encoding(path, "utf-8") is None

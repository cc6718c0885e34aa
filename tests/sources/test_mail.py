"""Mails are read as a person sees them, whatever their sender has broken."""

import io
from datetime import UTC, datetime
from email.message import EmailMessage

import pytest

from pipeline.sources import mail
from pipeline.sources.mail import Mail, html_text, read_mail, split_mbox
from tests.harness.mail_mutations import check_reading, mutated


def raw_mail(body=b"hi", kind=b"text/plain; charset=utf-8", headers=b"Subject: s"):
    return headers + b"\nContent-Type: " + kind + b"\n\n" + body


def body_of(*arguments):
    """The text without its subject, `s`."""
    return read_mail(raw_mail(*arguments)).text.removeprefix("s").removeprefix("\n\n")


def test_subject_text_and_facts_are_read_and_no_other_header():
    headers = b"""\
Received: from there by here; Thu, 26 Nov 2026 10:00:05 +0100
Received: from forged by there; Mon, 1 Jan 2001 00:00:00 +0000
From: =?utf-8?q?Bank_=E2=82=AC?= <help@bank.example> (a@b), <x@Phish.Example>
Message-ID: <1@phish.example>
X-Secret: not shown
Subject: =?utf-8?B?WW91IHdvbiDCow==?=
 =?iso-8859-1?q?=A32000?="""
    attached = EmailMessage()
    attached.set_content("Pay at https://pay.example/now?x=1 today")
    attached.add_attachment(b"secret", maintype="application", subtype="pdf", filename="a.pdf")
    attached.add_attachment("secret", filename="b.txt")
    assert read_mail(headers + b"\n" + attached.as_bytes()) == Mail(
        text="You won ££2000\n\nPay at https://pay.example/now?x=1 today",
        mail_id="<1@phish.example>",
        received_at=datetime(2026, 11, 26, 9, 0, 5, tzinfo=UTC),
        sender_domain="phish.example",
        link_hosts="pay.example",
        attachments="application/pdf:1 text/plain:1",
    )
    assert read_mail(b"") == Mail("", None, None, None, "", "")


def test_html_is_read_as_it_is_seen():
    html = """<html><head><title>T</title><style>p {}</style></head><body>
        <script>var x = "no"</script><!-- no --><p hidden>no</p>
        <div style="color: red; DISPLAY : none">no</div><p style="font-size:0px">no</p>
        <span style="font-size:0.5em">sm</span><b>al</b>l&nbsp;&pound;5<br>next
        <a href="http://evil.example/x"><b>www.bank.example</b></a>
        <img src=x alt="logo"><iframe src="http://frame.example/">no</iframe>
        <template>no</template><p>end"""
    text, links = html_text(html)
    shown = "http://evil.example/x logo http://frame.example/"
    assert text == f"small £5\nnext www.bank.example {shown}\nend"
    assert links == ["http://evil.example/x", "http://frame.example/"]


def test_of_two_forms_the_html_is_read_and_a_forwarded_mail_with_its_subject():
    inner = EmailMessage()
    inner["Subject"] = "inner"
    inner.set_content("innocent")
    inner.add_alternative("<p>buy <a href='https://x.example'>this</a>", subtype="html")
    outer = EmailMessage()
    outer["Subject"] = "outer"
    outer.set_content("see below")
    outer.add_attachment(inner)
    read = read_mail(outer.as_bytes())
    assert read.text == "outer\n\nsee below\n\ninner\n\nbuy this https://x.example"
    assert read.link_hosts == "x.example"


@pytest.mark.parametrize(
    ("raw", "charset", "text"),
    [
        ("£5", "us-ascii", "£5"),  # it says less than it has
        ("£5".encode("cp1252"), "utf-8", "£5"),
        ("“win”".encode("cp1252"), "iso-8859-1", "“win”"),
        ("中獎囉".encode("gb18030"), "gb2312", "中獎囉"),
        ("привет".encode("koi8-r"), '"KOI8-R"', "привет"),
        ("£5", "no-such-charset", "£5"),
        ("£5", "idna", "£5"),
        ("bcher-kva", "punycode", "bcher-kva"),  # its time would grow with the square of the text
        ("\\x41", "unicode_escape", "\\x41"),  # a mail program shows it as it is
        (b"\xff\x81", "utf-8", "ÿ\x81"),
    ],
)
def test_charset_that_lies_is_found_out(raw, charset, text):
    raw = raw.encode() if isinstance(raw, str) else raw
    assert body_of(raw, f"text/plain; charset={charset}".encode()) == text


def test_raw_bytes_in_a_header_are_read():
    assert read_mail("Subject: Zażółć\n\n".encode()).text == "Zażółć"
    assert read_mail("Subject: £ =?utf-8?q?=C2=A3?=\n\n".encode("cp1252")).text == "£ £"
    assert read_mail(b"Subject: =?utf-8?B?%%%?= =?x?q?a?=\n\n").text


@pytest.mark.parametrize("kind", [b"multipart/mixed", b'multipart/mixed; boundary="b"'])
def test_parts_without_a_boundary_are_read_as_what_they_look_like(kind):
    assert body_of(b"plain", kind) == "plain"
    assert body_of(b"<html><body>seen<!-- unseen -->", kind) == "seen"


def test_long_texts_keep_their_beginning_and_end():
    words = " ".join(map(str, range(5000)))
    text = body_of(words.encode())
    assert text.startswith("0 1 2 ")
    assert text.endswith(" 4998 4999")
    assert len(text) <= mail.START_CHARACTERS + mail.END_CHARACTERS + 2


def test_what_takes_long_is_cut(monkeypatch):
    for name in ("MAX_MAIL_BYTES", "MAX_HEADER_CHARACTERS", "MAX_PART_CHARACTERS"):
        monkeypatch.setattr(mail, name, 100)
    for name, most in (("MAX_TAGS", 4), ("MAX_PARTS", 3), ("MAX_LEVELS", 2)):
        monkeypatch.setattr(mail, name, most)
    assert len(read_mail(b"Subject: " + b"a" * 150).text) == 91  # of 100 bytes
    monkeypatch.setattr(mail, "MAX_MAIL_BYTES", 10_000)
    assert len(read_mail(b"Subject: " + b"a" * 150).text) == 100
    assert len(body_of(b"b" * 150)) == 100
    assert html_text("<b>1<b>2<b>3<b>4<b>5")[0] == "1234"
    part = b"--b\nContent-Type: text/plain\n\n%d\n"
    parts = b"".join(part % number for number in range(5))
    assert body_of(parts, b"multipart/mixed; boundary=b") == "0\n\n1"  # and the whole
    assert "inside" not in body_of(
        b"Content-Type: message/rfc822\n\n" * 4 + b"inside", b"message/rfc822"
    )


def test_a_thousand_parts_within_parts_are_read_as_text():
    start = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
    nested = b"".join(start % (level, level) for level in range(1000))
    assert "last words" in read_mail(b"Subject: s\n" + nested + b"\nlast words").text


def test_no_mutation_stops_the_reader():
    message = EmailMessage()
    message["Subject"] = "Zażółć gęślą"
    message["From"] = "a@b.example"
    message.set_content("text £")
    message.add_alternative("<p style='color:red'>£ <a href='http://x'>y</a>", subtype="html")
    message.add_attachment(message_of("inner"))
    mails = [message.as_bytes(), message_of("£5 for you").as_bytes()]
    for seed in range(2000):
        check_reading(mutated(mails, seed))


def message_of(text):
    message = EmailMessage()
    message["Subject"] = text
    message.set_content(text)
    return message


# ---- mbox


def test_mbox_is_split_where_mails_begin():
    start = b"From a@b Thu Nov 26 10:00:00 2026\n"
    content = start + b"Subject: 1\n\nFrom here\n>From there\n>>From us\n\n"
    content += start + b"Subject: 2\n\nhi\n\n" + start
    mails = list(split_mbox(io.BytesIO(content)))
    assert mails == [
        b"Subject: 1\n\nFrom here\nFrom there\n>From us\n\n",
        b"Subject: 2\n\nhi\n\n",
        b"",
    ]
    assert list(split_mbox(io.BytesIO(b""))) == []
    with pytest.raises(ValueError, match="not an mbox file"):
        next(split_mbox(io.BytesIO(b"text,label\n")))


def test_large_mail_of_an_mbox_is_cut(monkeypatch):
    monkeypatch.setattr(mail, "MAX_MAIL_BYTES", 50)
    start = b"From a 10:00\n"
    content = start + b"x" * 1000 + b"\n" + b"y\n" * 500 + b"\n" + start + b"Subject: 2\n\n"
    first, second = split_mbox(io.BytesIO(content))
    assert len(first) < 120
    assert second == b"Subject: 2\n\n"

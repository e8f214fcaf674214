//! `cargo bench -p ses-forwarder --bench body`: looking for lines that are too long, and re-encoding them.

use divan::{Bencher, black_box, counter::BytesCount};
use ses_forwarder::{
    body::{Cursor, Recoding},
    header::{HeaderBlock, split},
};

/// About the size of each body, in bytes.
const BODY: usize = 10_000_000;
/// What is asked for at a time, in bytes.
const ROOM: usize = 1 << 16;

fn main() {
    divan::main();
}

/// An attachment, and behind it a part whose one line is so long.
fn attachment(last_line: usize) -> String {
    let line = "VGhpcyBpcyBhIGxpbmUgb2YgYW4gYXR0YWNobWVudCwgb2Ygd2hpY2ggdGhlcmUgYXJlIG1hbnk\r\n";
    format!(
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n\
         --b\r\n\r\n{}\r\n--b--\r\n",
        line.repeat(BODY / line.len()),
        "x".repeat(last_line)
    )
}

/// A text on one line.
fn one_line(media_type: &str) -> String {
    let text = "<p>A newsletter (or a report: 100 %) that was written on one line, für alle</p>";
    format!("Content-Type: {media_type}\r\n\r\n{}", text.repeat(BODY / text.len()))
}

fn parts(message: &str) -> (HeaderBlock<'_>, &[u8]) {
    let block = split(message.as_bytes());
    (block, &message.as_bytes()[block.body_at..])
}

/// What every message costs.
#[divan::bench]
fn look(bencher: Bencher<'_, '_>) {
    let message = attachment(100);
    let (block, body) = parts(&message);
    assert!(Recoding::of(&block, body).is_none());
    bencher.counter(BytesCount::of_slice(body)).bench(|| Recoding::of(black_box(&block), black_box(body)));
}

/// What it costs in addition to walk the parts of one that has a long line.
#[divan::bench]
fn walk(bencher: Bencher<'_, '_>) {
    let message = attachment(2000);
    let (block, body) = parts(&message);
    bencher.counter(BytesCount::of_slice(body)).bench(|| Recoding::of(black_box(&block), black_box(body)));
}

/// Once for its length, and once each time that the message is read to be sent.
#[divan::bench(args = ["text/html", "application/json"])]
fn encode(bencher: Bencher<'_, '_>, media_type: &str) {
    let message = one_line(media_type);
    let (block, body) = parts(&message);
    let recoding = Recoding::of(&block, body).expect("its line is too long");
    let mut out = Vec::with_capacity(2 * ROOM);
    bencher.counter(BytesCount::of_slice(body)).bench_local(|| {
        let mut cursor = Cursor::default();
        out.clear();
        while recoding.read(body, &mut cursor, &mut out, ROOM) {
            black_box(&out);
            out.clear();
        }
    });
}

//! A request body produced while it is sent: some bytes, the message in base64, some bytes.
//!
//! The SDK would hold the message, its base64 and the JSON around that, three and a half times the
//! message in all. Here the message stays where it is, and [`FRAME`] bytes at a time are encoded into
//! a buffer that is hashed, or sent, and forgotten.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use aws_smithy_types::body::SdkBody;
use base64_simd::STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use ses_forwarder::body::{Cursor, Recoding};
use sha2::{Digest, Sha256};

use super::Outgoing;

/// Bytes encoded at a time: large enough for few system calls, small enough for the processor's cache.
const FRAME: usize = 64 * 1024;

/// Bytes of input that base64 takes to four of output, without padding (RFC 4648 section 4).
const GROUP: usize = 3;

/// What is sent. Cloning it copies no message.
#[derive(Debug, Clone)]
pub(super) struct Content {
    sections: [Section; 5],
}

/// A run of bytes, sent as they are or in base64.
#[derive(Debug, Clone)]
enum Section {
    Plain(Bytes),
    /// Of whole groups unless no other follows, so that only the end is padded.
    Base64(Bytes),
    /// A body with lines that are too long, made as it goes.
    Recoded(Recoded),
}

/// A body that is re-encoded while it is sent.
#[derive(Debug, Clone)]
struct Recoded {
    /// What stands before it in the same group: the end of the header.
    seam: Bytes,
    body: Bytes,
    recoding: Arc<Recoding>,
    in_base64: bool,
}

impl Content {
    /// `prefix`, the base64 of the message as one text, `suffix`.
    pub(super) fn base64(prefix: Bytes, message: &Outgoing, suffix: Bytes) -> Content {
        let Outgoing { header, body, recoding } = message;
        let whole = header.len() - header.len() % GROUP;
        if let Some(recoding) = recoding {
            let (seam, recoding) = (header.slice(whole..), recoding.clone());
            return Content {
                sections: [
                    Section::Plain(prefix),
                    Section::Base64(header.slice(..whole)),
                    Section::Recoded(Recoded { seam, body: body.clone(), recoding, in_base64: true }),
                    Section::Plain(suffix),
                    Section::Plain(Bytes::new()),
                ],
            };
        }
        let borrowed = if whole == header.len() { 0 } else { body.len().min(GROUP - header.len() % GROUP) };
        let seam = [&header[whole..], &body[..borrowed]].concat();
        Content {
            sections: [
                Section::Plain(prefix),
                Section::Base64(header.slice(..whole)),
                Section::Base64(seam.into()),
                Section::Base64(body.slice(borrowed..)),
                Section::Plain(suffix),
            ],
        }
    }

    /// The message as it is.
    pub(super) fn plain(message: &Outgoing) -> Content {
        let Outgoing { header, body, recoding } = message.clone();
        let nothing = || Section::Plain(Bytes::new());
        let body = match recoding {
            None => Section::Plain(body),
            Some(recoding) => {
                Section::Recoded(Recoded { seam: Bytes::new(), body, recoding, in_base64: false })
            }
        };
        Content { sections: [Section::Plain(header), body, nothing(), nothing(), nothing()] }
    }

    /// Bytes on the wire.
    pub(super) fn len(&self) -> u64 {
        self.sections.iter().map(Section::len).sum()
    }

    /// In hexadecimal, as Signature Version 4 wants it.
    pub(super) fn sha256(&self) -> String {
        let mut frames = Frames::of(self.clone());
        let mut frame = Vec::with_capacity(FRAME);
        let mut hasher = Sha256::new();
        while frames.fill(&mut frame) {
            hasher.update(&frame);
            frame.clear();
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A body that starts anew for each attempt.
    pub(super) fn into_body(self) -> SdkBody {
        SdkBody::retryable(move || SdkBody::from_body_1_x(Frames::of(self.clone())))
    }
}

impl Section {
    fn len(&self) -> u64 {
        match self {
            Section::Plain(bytes) => bytes.len() as u64,
            Section::Base64(bytes) => STANDARD.encoded_length(bytes.len()) as u64,
            Section::Recoded(Recoded { seam, recoding, in_base64, .. }) => {
                let bytes = seam.len() as u64 + recoding.len();
                if *in_base64 { bytes.div_ceil(GROUP as u64) * 4 } else { bytes }
            }
        }
    }
}

/// A content on its way.
#[derive(Debug)]
struct Frames {
    content: Content,
    /// The section in turn, and the offset in it.
    section: usize,
    at: usize,
    /// How far a body that is re-encoded has been read, and what of it is not sent yet.
    cursor: Cursor,
    pending: Vec<u8>,
    /// Bytes still to come.
    left: u64,
}

impl Frames {
    fn of(content: Content) -> Frames {
        let left = content.len();
        Frames { content, section: 0, at: 0, cursor: Cursor::default(), pending: Vec::new(), left }
    }

    /// Appends to `frame`, which is empty, up to [`FRAME`] bytes; `false` if there are none left.
    fn fill(&mut self, frame: &mut Vec<u8>) -> bool {
        while let Some(section) = self.content.sections.get(self.section) {
            let room = FRAME - frame.len();
            let is_done = match section {
                Section::Plain(bytes) => {
                    let taken = (bytes.len() - self.at).min(room);
                    frame.extend_from_slice(&bytes[self.at..][..taken]);
                    self.at += taken;
                    self.at == bytes.len()
                }
                Section::Base64(bytes) => {
                    let taken = (bytes.len() - self.at).min(room / 4 * GROUP);
                    STANDARD.encode_append(&bytes[self.at..][..taken], frame);
                    self.at += taken;
                    self.at == bytes.len()
                }
                Section::Recoded(recoded) => {
                    if self.at == 0 {
                        self.pending.extend_from_slice(&recoded.seam);
                        self.at = 1;
                    }
                    recoded.fill(&mut self.cursor, &mut self.pending, frame, room)
                }
            };
            if !is_done {
                break;
            }
            self.section += 1;
            self.at = 0;
        }
        self.left -= frame.len() as u64;
        !frame.is_empty()
    }
}

impl Recoded {
    /// Appends up to `room` bytes to `frame`; `true` if those were the last. What was read beyond that, or is
    /// no whole group, stays in `pending`.
    fn fill(&self, cursor: &mut Cursor, pending: &mut Vec<u8>, frame: &mut Vec<u8>, room: usize) -> bool {
        let wanted = if self.in_base64 { room / 4 * GROUP } else { room };
        let mut more = true;
        while more && pending.len() < wanted {
            more = self.recoding.read(&self.body, cursor, pending, wanted - pending.len());
        }
        let taken = match pending.len().min(wanted) {
            // Only the end is padded.
            taken if self.in_base64 && more => taken - taken % GROUP,
            taken => taken,
        };
        if self.in_base64 {
            STANDARD.encode_append(&pending[..taken], frame);
        } else {
            frame.extend_from_slice(&pending[..taken]);
        }
        pending.drain(..taken);
        !more && pending.is_empty()
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let size = usize::try_from(self.left).map_or(FRAME, |left| left.min(FRAME));
        let mut frame = Vec::with_capacity(size);
        let filled = self.fill(&mut frame);
        Poll::Ready(filled.then(|| Ok(Frame::data(frame.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::byte_stream::ByteStream;
    use ses_forwarder::header::split;

    use super::*;

    async fn collect(body: SdkBody) -> Vec<u8> {
        ByteStream::new(body).collect().await.expect("a body from memory").to_vec()
    }

    /// Every length of header and body around a group, and bodies around a frame.
    #[tokio::test]
    async fn the_pieces_read_as_one_text() {
        let input: Vec<u8> = (0..3 * FRAME).map(|i| (i * 7 + i / 251) as u8).collect();
        let input = Bytes::from(input);
        let around_a_frame = (FRAME / 4 * 3 - 8..FRAME / 4 * 3 + 8).chain(FRAME - 3..FRAME + 3);
        for body in (0..8).chain(around_a_frame).chain([2 * FRAME + 1]) {
            for header in 0..8 {
                let (header, body) = (input.slice(..header), input.slice(header..header + body));
                let message = [&header[..], &body[..]].concat();
                let outgoing = Outgoing { header: header.clone(), body: body.clone(), recoding: None };
                let content = Content::base64("{\"a\":\"".into(), &outgoing, "\"}".into());
                let expected = format!("{{\"a\":\"{}\"}}", STANDARD.encode_to_string(message));
                let lengths = (header.len(), body.len());
                assert_eq!(content.len(), expected.len() as u64, "{lengths:?}");
                assert_eq!(content.sha256(), hex_of(expected.as_bytes()), "{lengths:?}");
                let sent = collect(content.into_body()).await;
                assert!(sent == expected.as_bytes(), "{lengths:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_plain_content_is_sent_as_it_is() {
        for length in [0, 1, FRAME - 1, FRAME, 2 * FRAME + 7] {
            let body = vec![b'x'; length].into();
            let content = Content::plain(&Outgoing { header: "head".into(), body, recoding: None });
            assert_eq!(content.len(), length as u64 + 4);
            let expected = [b"head", &vec![b'x'; length][..]].concat();
            assert!(collect(content.into_body()).await == expected, "{length}");
        }
    }

    /// Bodies whose encoded form ends everywhere around a group, and around a frame.
    #[tokio::test]
    async fn a_body_is_re_encoded_as_it_goes() {
        let lengths = (999..1010).chain(FRAME - 700..FRAME - 600).step_by(3).chain([4 * FRAME + 5]);
        for length in lengths {
            for header in ["Subject: s\r\n\r\n", "Subject: st\r\n\r\n", "Subject: str\r\n\r\n"] {
                let body = Bytes::from(format!("a = b\r\n{}\r\n", "x".repeat(length)));
                let recoding = Recoding::of(&split(header.as_bytes()), &body).expect("it has a long line");
                let (mut text, mut cursor) = (Vec::new(), Cursor::default());
                while recoding.read(&body, &mut cursor, &mut text, FRAME) {}
                let recoding = Some(Arc::new(recoding));
                let outgoing = Outgoing { header: header.into(), body, recoding };
                let message = [header.as_bytes(), &text].concat();
                assert_eq!(outgoing.len(), message.len() as u64);
                assert!(collect(outgoing.to_body()).await == message, "{length}, plain");

                let expected = format!("<{}>", STANDARD.encode_to_string(&message));
                let content = Content::base64("<".into(), &outgoing, ">".into());
                assert_eq!(content.len(), expected.len() as u64, "{length}");
                assert_eq!(content.sha256(), hex_of(expected.as_bytes()), "{length}");
                assert!(collect(content.into_body()).await == expected.as_bytes(), "{length}");
            }
        }
    }

    #[tokio::test]
    async fn each_attempt_starts_anew() {
        let body = vec![b'x'; 2 * FRAME].into();
        let message = Outgoing { header: "head".into(), body, recoding: None };
        let body = Content::base64("<".into(), &message, ">".into()).into_body();
        let again = body.try_clone().expect("it is retryable");
        assert!(collect(body).await == collect(again).await);
    }

    fn hex_of(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

//! A request body produced while it is sent: some bytes, the message in base64, some bytes.
//!
//! The SDK would hold the message, its base64 and the JSON around that, three and a half times the
//! message in all. Here the message stays where it is, and [`FRAME`] bytes at a time are encoded into
//! a buffer that is hashed, or sent, and forgotten.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use aws_smithy_types::body::SdkBody;
use base64_simd::STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};

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
}

impl Content {
    /// `prefix`, the base64 of `header` and `body` as one text, `suffix`.
    pub(super) fn base64(prefix: Bytes, header: &Bytes, body: &Bytes, suffix: Bytes) -> Content {
        let whole = header.len() - header.len() % GROUP;
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

    /// `header` and `body` as they are.
    pub(super) fn plain(header: Bytes, body: Bytes) -> Content {
        let nothing = || Section::Plain(Bytes::new());
        Content { sections: [Section::Plain(header), Section::Plain(body), nothing(), nothing(), nothing()] }
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
    fn bytes(&self) -> &Bytes {
        match self {
            Section::Plain(bytes) | Section::Base64(bytes) => bytes,
        }
    }

    fn len(&self) -> u64 {
        let bytes = match self {
            Section::Plain(bytes) => bytes.len(),
            Section::Base64(bytes) => STANDARD.encoded_length(bytes.len()),
        };
        bytes as u64
    }
}

/// A content on its way.
#[derive(Debug)]
struct Frames {
    content: Content,
    /// The section in turn, and the offset in it.
    section: usize,
    at: usize,
    /// Bytes still to come.
    left: u64,
}

impl Frames {
    fn of(content: Content) -> Frames {
        let left = content.len();
        Frames { content, section: 0, at: 0, left }
    }

    /// Appends to `frame`, which is empty, up to [`FRAME`] bytes; `false` if there are none left.
    fn fill(&mut self, frame: &mut Vec<u8>) -> bool {
        while let Some(section) = self.content.sections.get(self.section) {
            let rest = &section.bytes()[self.at..];
            let room = FRAME - frame.len();
            let taken = match section {
                Section::Plain(_) => rest.len().min(room),
                Section::Base64(_) => rest.len().min(room / 4 * GROUP),
            };
            match section {
                Section::Plain(_) => frame.extend_from_slice(&rest[..taken]),
                Section::Base64(_) => STANDARD.encode_append(&rest[..taken], frame),
            }
            if taken < rest.len() {
                self.at += taken;
                break;
            }
            self.section += 1;
            self.at = 0;
        }
        self.left -= frame.len() as u64;
        !frame.is_empty()
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
                let content = Content::base64("{\"a\":\"".into(), &header, &body, "\"}".into());
                let message = [&header[..], &body[..]].concat();
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
            let content = Content::plain("head".into(), vec![b'x'; length].into());
            assert_eq!(content.len(), length as u64 + 4);
            let expected = [b"head", &vec![b'x'; length][..]].concat();
            assert!(collect(content.into_body()).await == expected, "{length}");
        }
    }

    #[tokio::test]
    async fn each_attempt_starts_anew() {
        let content = Content::base64("<".into(), &"head".into(), &vec![b'x'; 2 * FRAME].into(), ">".into());
        let body = content.into_body();
        let again = body.try_clone().expect("it is retryable");
        assert!(collect(body).await == collect(again).await);
    }

    fn hex_of(bytes: &[u8]) -> String {
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

//! Ids of messages, such that both sides of a conversation keep one thread.
//!
//! SES gives every message that it sends another Message-ID. Forwarding leaves the author's own at the end of
//! References, so Jane's messages are found. The owner's own ids are another matter: they name the owner's mail
//! system, so Jane must not see them, and yet a mail program that files what the owner has sent needs them.
//! So an answer's References name it by a [hidden](ReplyKeys::hide_id) id, which Jane's mail program
//! repeats when she answers, and which is then [revealed](ReplyKeys::reveal_id) to the owner.
//!
//! Hidden ids are encrypted with AES-256-GCM-SIV (RFC 8452), with one nonce for all: two ids are hidden alike only
//! if they are the same, and then they have to be, as it is one message. Nobody else can make one.

use aes_gcm_siv::{Nonce, aead::Aead};

use super::keys::ReplyKeys;

/// Longest id that is hidden, in octets: the hidden one, half as long again, still fits a line.
const ID_OCTETS: usize = 400;

/// What stands behind a hidden id's text.
const MARK: &str = ".reply";

impl ReplyKeys {
    /// A message's id, without its brackets, that nobody can read; `None` if it is too long, or no id.
    pub fn hide_id(&self, id: &[u8], domain: &str) -> Option<String> {
        if id.is_empty() || id.len() > ID_OCTETS || !id.iter().all(|byte| is_plain(*byte)) {
            return None;
        }
        let key = self.current();
        let sealed = key.cipher.encrypt(&Nonce::default(), id).ok()?;
        let mut text = data_encoding::BASE32_NOPAD.encode(&sealed);
        text.make_ascii_lowercase();
        Some(format!("{}.{text}{MARK}@{domain}", key.id()))
    }

    /// The id that was hidden.
    pub fn reveal_id(&self, id: &[u8]) -> Option<Vec<u8>> {
        let id = str::from_utf8(id).ok().filter(|id| id.len() <= 2 * ID_OCTETS + 300)?;
        let (key, text) = id.rsplit_once('@')?.0.strip_suffix(MARK)?.split_once('.')?;
        let key = self.key(*key.as_bytes().first().filter(|_| key.len() == 1)?)?;
        let sealed = data_encoding::BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
        let id = key.cipher.decrypt(&Nonce::default(), &*sealed).ok()?;
        id.iter().all(|byte| is_plain(*byte)).then_some(id)
    }
}

/// What an id may hold (RFC 5322 section 3.6.4, and what mail programs write besides).
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>')
}

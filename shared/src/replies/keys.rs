//! The keys of signed addresses: `config/reply-keys.json`.
//!
//! ```json
//! {"keys":[{"id":"a","secret":"…32 bytes in base64…"},{"id":"b","secret":"…"}]}
//! ```
//!
//! The last one signs, and all of them are good to read with, so that an address stays valid when a new key is
//! added. `handle-email` makes the file when it needs one and there is none.

use std::fmt;

use aes_gcm_siv::{Aes256GcmSiv, Key};
use base64_simd::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Octets of a secret: as many as the hash makes (RFC 2104 section 3).
pub const SECRET_OCTETS: usize = 32;

/// What an id is taken from: base32 (RFC 4648 section 6) in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// All keys, the oldest first. There is at least one.
#[derive(Debug, Clone)]
pub struct ReplyKeys {
    former: Vec<ReplyKey>,
    current: ReplyKey,
}

/// A key: an id of one character, and what is made of its secret.
#[derive(Clone)]
pub struct ReplyKey {
    id: u8,
    secret: [u8; SECRET_OCTETS],
    mac: Hmac<Sha256>,
    pub(super) cipher: Aes256GcmSiv,
}

/// Why a file has no keys that could be used. It repeats nothing of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    keys: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    id: String,
    secret: String,
}

impl ReplyKeys {
    /// A first key. The secret has to come from the system's generator of random numbers.
    pub fn first(secret: [u8; SECRET_OCTETS]) -> ReplyKeys {
        ReplyKeys { former: Vec::new(), current: ReplyKey::new(ALPHABET[0], secret) }
    }

    /// These keys and a new one, which signs from now on. An error if there are as many as there are ids.
    pub fn rotated(&self, secret: [u8; SECRET_OCTETS]) -> Result<ReplyKeys, KeysError> {
        let id = ALPHABET.iter().find(|id| self.key(**id).is_none()).ok_or_else(|| {
            let all = ALPHABET.len();
            KeysError(format!("there are {all} keys, and no more ids; take the oldest out of the file first"))
        })?;
        let mut former = self.former.clone();
        former.push(self.current.clone());
        Ok(ReplyKeys { former, current: ReplyKey::new(*id, secret) })
    }

    /// Reads the file.
    pub fn parse(file: &[u8]) -> Result<ReplyKeys, KeysError> {
        let File { keys } = serde_json::from_slice(file).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            KeysError(format!(
                "expected {{\"keys\": [...]}}, but line {line}, column {column} is something else"
            ))
        })?;
        let mut read: Vec<ReplyKey> = Vec::with_capacity(keys.len());
        for (number, Entry { id, secret }) in (1..).zip(keys) {
            let wrong = |what: &str| KeysError(format!("key {number} {what}"));
            let id = match id.as_bytes() {
                [id] if ALPHABET.contains(id) => *id,
                _ => return Err(wrong("should have one of a-z and 2-7 for an id")),
            };
            if read.iter().any(|key| key.id == id) {
                return Err(wrong("has the id of another"));
            }
            let secret = STANDARD.decode_to_vec(&secret).ok().and_then(|secret| secret.try_into().ok());
            let secret = secret.ok_or_else(|| wrong("should have 32 bytes in base64 for a secret"))?;
            read.push(ReplyKey::new(id, secret));
        }
        let current = read.pop().ok_or_else(|| KeysError("the list of keys is empty".to_owned()))?;
        Ok(ReplyKeys { former: read, current })
    }

    /// The file's content, one line.
    pub fn to_json(&self) -> String {
        let entry = |key: &ReplyKey| Entry {
            id: char::from(key.id).to_string(),
            secret: STANDARD.encode_to_string(key.secret),
        };
        let file = File { keys: self.all().map(entry).collect() };
        serde_json::to_string(&file).expect("it is JSON") + "\n"
    }

    /// The ids, the oldest first; the last one's key signs.
    pub fn ids(&self) -> Vec<char> {
        self.all().map(|key| char::from(key.id)).collect()
    }

    /// The one that signs.
    pub(super) fn current(&self) -> &ReplyKey {
        &self.current
    }

    /// The one with this id.
    pub(super) fn key(&self, id: u8) -> Option<&ReplyKey> {
        self.all().find(|key| key.id == id)
    }

    fn all(&self) -> impl Iterator<Item = &ReplyKey> {
        self.former.iter().chain([&self.current])
    }
}

impl ReplyKey {
    fn new(id: u8, secret: [u8; SECRET_OCTETS]) -> ReplyKey {
        let mac: Hmac<Sha256> = KeyInit::new_from_slice(&secret).expect("HMAC takes a key of any length");
        // One secret for two things would be one too few.
        let for_ids: [u8; SECRET_OCTETS] =
            mac.clone().chain_update("ids of messages").finalize().into_bytes().into();
        ReplyKey { id, secret, mac, cipher: Aes256GcmSiv::new(&Key::<Aes256GcmSiv>::from(for_ids)) }
    }

    /// Its id.
    pub(super) fn id(&self) -> char {
        char::from(self.id)
    }

    /// HMAC-SHA256 (RFC 2104) over these fields, in lower case, each with its length in front, so that no two
    /// lists of fields are one text.
    pub(super) fn sign(&self, fields: &[&str]) -> [u8; SECRET_OCTETS] {
        let mut mac = self.mac.clone();
        for field in fields {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field.to_ascii_lowercase().as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// Without the secret.
impl fmt::Debug for ReplyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back() {
        let mut keys = ReplyKeys::first([1; 32]);
        for number in 2..=32 {
            keys = keys.rotated([number; 32]).expect("there are ids left");
            let read = ReplyKeys::parse(keys.to_json().as_bytes()).expect("it is a file of keys");
            assert_eq!(read.to_json(), keys.to_json());
            assert_eq!(read.current().secret, [number; 32]);
        }
        assert_eq!(keys.ids().into_iter().collect::<String>().as_bytes(), ALPHABET);
        assert!(keys.rotated([33; 32]).unwrap_err().to_string().contains("no more ids"));
    }

    #[test]
    fn a_file_is_refused_with_a_sentence_that_tells_no_secret() {
        let secret = STANDARD.encode_to_string([7; 32]);
        let short = STANDARD.encode_to_string([7; 31]);
        for (file, why) in [
            (String::new(), "expected"),
            ("{}".to_owned(), "expected"),
            (r#"{"keys":[]}"#.to_owned(), "empty"),
            (format!(r#"{{"keys":[{{"id":"A","secret":"{secret}"}}]}}"#), "id"),
            (format!(r#"{{"keys":[{{"id":"ab","secret":"{secret}"}}]}}"#), "id"),
            (format!(r#"{{"keys":[{{"id":"a","secret":"{short}"}}]}}"#), "32 bytes"),
            (format!(r#"{{"keys":[{{"id":"a","secret":"!{short}"}}]}}"#), "32 bytes"),
            (
                format!(r#"{{"keys":[{{"id":"a","secret":"{secret}"}},{{"id":"a","secret":"{secret}"}}]}}"#),
                "key 2 has the id of another",
            ),
            (format!(r#"{{"keys":[{{"id":"a","secret":{secret}}}]}}"#), "line 1"),
        ] {
            let error = ReplyKeys::parse(file.as_bytes()).expect_err(&file).to_string();
            assert!(error.contains(why) && !error.contains(&secret[..8]), "{file}: {error}");
        }
        assert!(!format!("{:?}", ReplyKeys::first([7; 32])).contains('7'));
    }
}

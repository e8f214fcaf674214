//! The text of an answer without its owner's address: `REPLY_BODY=clean`.
//!
//! A part is decoded, searched and encoded again a byte at a time, so it may have any size. What is found is an
//! address as a whole: `joann@out.example` holds no `ann@out.example`. HTML writes `@` as `&#64;` too, and links
//! `%40`; those that lead there by way of another, `%2540`.
//!
//! Not found: an address in a charset that does not write ASCII as ASCII, as UTF-16, or with tags inside.

use super::{
    coding::{ENCODED_LINE, push_quoted},
    decoding::Decoder,
    mime::Transfer,
};
use crate::address::{Address, BEFORE, may_begin_behind, may_end_before};

/// What comes before a message or signature of OpenPGP (RFC 9580 section 6.2).
const PGP: &[u8] = b"-----begin pgp ";

/// What is put in the place of whose addresses.
#[derive(Debug, Clone)]
pub struct Cleaner {
    pairs: Vec<Pair>,
}

/// How `@` is written.
const ATS: [&str; 6] = ["@", "&#64;", "&#x40;", "&commat;", "%40", "%2540"];

/// An address in lower case, and what replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pair {
    private: Vec<u8>,
    alias: Vec<u8>,
}

/// How far a part has been cleaned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    decoder: Decoder,
    /// The octets before, the last one last; 0 at the beginning.
    before: [u8; BEFORE],
    /// Octets on the line that is being written.
    column: usize,
    /// What waits for the octets behind it: white space and CR for quoted-printable, up to two octets for base64.
    held: [u8; 3],
    holds: usize,
}

impl Cleaner {
    /// Puts an alias in the place of these addresses.
    pub fn new(private: &[Address], alias: &Address) -> Cleaner {
        let mut pairs: Vec<Pair> = Vec::new();
        for address in private {
            for at in ATS {
                let written = |address: &Address| address.to_string().replace('@', at);
                let private = written(address).to_ascii_lowercase().into_bytes();
                let pair = Pair { private, alias: written(alias).into_bytes() };
                if !pairs.contains(&pair) {
                    pairs.push(pair);
                }
            }
        }
        Cleaner { pairs }
    }

    /// Whether a part holds one of the addresses, and nothing that is signed or encrypted.
    pub(super) fn finds(&self, source: &[u8], transfer: Transfer) -> bool {
        let (mut state, mut found) = (State::default(), false);
        loop {
            let at_line = matches!(state.last(), 0 | b'\n');
            if at_line && state.decoder.begins(source, transfer, PGP).is_some() {
                return false;
            }
            if let Some((behind, pair)) = self.find(&state, source, transfer) {
                found = true;
                state.pass(&pair.private);
                state.decoder = behind;
            } else if let Some(byte) = state.decoder.next(source, transfer) {
                state.pass(&[byte]);
            } else {
                return found;
            }
        }
    }

    /// The address that begins here, and what follows it.
    fn find(&self, state: &State, source: &[u8], transfer: Transfer) -> Option<(Decoder, &Pair)> {
        if !may_begin_behind(&state.before) {
            return None;
        }
        self.pairs.iter().find_map(|pair| {
            let behind = state.decoder.begins(source, transfer, &pair.private)?;
            let mut rest = behind;
            may_end_before(std::iter::from_fn(|| rest.next(source, transfer))).then_some((behind, pair))
        })
    }

    /// Bytes that it makes of a part.
    pub(super) fn length(&self, source: &[u8], transfer: Transfer) -> u64 {
        let (mut state, mut out, mut length) = (State::default(), Vec::with_capacity(4096), 0);
        loop {
            out.clear();
            let done = self.clean(source, transfer, &mut state, &mut out, 2048);
            length += out.len() as u64;
            if done {
                return length;
            }
        }
    }

    /// Appends what it makes of the next bytes until `out` has a length of `until` or little more; `true` if
    /// that was all.
    pub(super) fn clean(
        &self,
        source: &[u8],
        transfer: Transfer,
        state: &mut State,
        out: &mut Vec<u8>,
        until: usize,
    ) -> bool {
        let put = if transfer == Transfer::Base64 { State::put_base64 } else { State::put_quoted };
        while out.len() < until {
            if let Some((behind, Pair { private, alias })) = self.find(state, source, transfer) {
                alias.iter().for_each(|byte| put(state, *byte, out));
                state.pass(private);
                state.decoder = behind;
            } else if let Some(byte) = state.decoder.next(source, transfer) {
                put(state, byte, out);
                state.pass(&[byte]);
            } else {
                state.finish(transfer, out);
                return true;
            }
        }
        false
    }
}

/// The field that a cleaned part has to declare; `None` if its own stays true.
pub(super) fn declaration(transfer: Transfer) -> Option<&'static str> {
    (transfer == Transfer::Identity).then_some("Content-Transfer-Encoding: quoted-printable\r\n")
}

impl State {
    fn last(&self) -> u8 {
        self.before[BEFORE - 1]
    }

    /// Has octets that stand in the source behind it.
    fn pass(&mut self, octets: &[u8]) {
        for octet in octets {
            self.before.rotate_left(1);
            self.before[BEFORE - 1] = *octet;
        }
    }

    /// Writes an octet in quoted-printable (RFC 2045 section 6.7); line ends stay.
    fn put_quoted(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.holds == 1 {
            self.holds = 0;
            match (self.held[0], byte) {
                (b'\r', b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.column = 0;
                    return;
                }
                (b'\r', _) => self.hex(b'\r', out),
                // White space at the end of a line is lost (rule 3).
                (white, b'\r' | b'\n') => self.hex(white, out),
                (white, _) => self.plain(white, out),
            }
        }
        match byte {
            b' ' | b'\t' | b'\r' => {
                self.held[0] = byte;
                self.holds = 1;
            }
            b'\n' => {
                out.push(b'\n');
                self.column = 0;
            }
            b'=' => self.hex(byte, out),
            byte if byte.is_ascii_graphic() => self.plain(byte, out),
            byte => self.hex(byte, out),
        }
    }

    fn plain(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.make_room(1, out);
        out.push(byte);
    }

    fn hex(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.make_room(3, out);
        push_quoted(byte, out);
    }

    /// Breaks the line unless there is room for so many octets and the `=` of a soft line break.
    fn make_room(&mut self, octets: usize, out: &mut Vec<u8>) {
        if self.column + octets > ENCODED_LINE - 1 {
            out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        self.column += octets;
    }

    /// Writes an octet in base64 (RFC 2045 section 6.8).
    fn put_base64(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.held[self.holds] = byte;
        self.holds += 1;
        if self.holds == self.held.len() {
            self.group(out);
        }
    }

    /// Writes what is held of a group of three octets.
    fn group(&mut self, out: &mut Vec<u8>) {
        if self.column == ENCODED_LINE {
            out.extend_from_slice(b"\r\n");
            self.column = 0;
        }
        base64_simd::STANDARD.encode_append(&self.held[..self.holds], out);
        self.column += 4;
        self.holds = 0;
    }

    fn finish(&mut self, transfer: Transfer, out: &mut Vec<u8>) {
        if self.holds > 0 && transfer == Transfer::Base64 {
            self.group(out);
        } else if self.holds > 0 {
            self.hex(self.held[0], out);
            self.holds = 0;
        }
    }
}

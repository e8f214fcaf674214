//! An encoded-word: the first byte picks the encoding, the text up to the first `?` is the charset.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod check;

fuzz_target!(|input: &[u8]| {
    let Some((&first, rest)) = input.split_first() else { return };
    let encoding: &[u8] = if first & 1 == 0 { b"?q?" } else { b"?b?" };
    let (charset, payload) = match rest.iter().position(|&byte| byte == b'?') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (&b"utf-8"[..], rest),
    };
    let word = [b"=?", charset, encoding, payload, b"?="].concat();
    let message = [b"From: ", &*word, b" <e@x.example>\r\nSubject: \xc3\xa9 ", &word, b"\r\n\r\n"].concat();
    check::check(&message, None);
});

//! A From field's value, and the same text as the envelope sender, in To, Cc and Reply-To.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod check;

fuzz_target!(|value: &[u8]| {
    let message =
        [b"From: ", value, b"\r\nTo: ", value, b"\r\nCc:", value, b"\r\nReply-To: ", value, b"\r\n\r\n"].concat();
    check::check(&message, std::str::from_utf8(value).ok());
});

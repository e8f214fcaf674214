//! A whole message: all that must hold of a rewritten one.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod check;

fuzz_target!(|message: &[u8]| check::check(message, Some("sender@envelope.example")));

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| octet_fuzz::consensus(bytes));

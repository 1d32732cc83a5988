#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| punctual_trigger::fuzz::date_string(data));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| punctual_trigger::fuzz::crontab(data));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hmac_propagator::fuzzing::headers(data));

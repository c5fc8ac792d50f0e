#![no_main]

#[allow(dead_code, reason = "the command uses the rest")]
#[path = "../../src/bin/propagator"]
mod command {
    pub(crate) mod config;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| command::config::laws::config(data));

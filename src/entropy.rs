//! Randomness, injected so that a simulation can replay it.

use std::fmt;

/// A source of random bytes. The default reads the operating system's generator.
pub trait Entropy: Send + Sync + fmt::Debug + 'static {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]);

    /// Sixteen bytes.
    fn bytes16(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        bytes
    }

    /// A number in `0.0..1.0`.
    fn unit(&self) -> f64 {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) {
        // A system that cannot give random bytes cannot make ids that nobody guesses: going on with
        // weaker ones would be a silent hole, so this is the one place that may stop the process.
        #[allow(clippy::expect_used)]
        getrandom::fill(buffer).expect("the operating system's random generator works");
    }
}

//! Hexadecimal text of 32-byte digests, without formatting machinery: it runs several times per
//! request.

/// The two lowercase digits of every byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

/// The lowercase digits of a digest, as ASCII.
pub(crate) fn encode(digest: &[u8; 32]) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair.copy_from_slice(&PAIRS[usize::from(*byte)]);
    }
    text
}

/// Appends the lowercase digits of some bytes.
pub(crate) fn push(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.extend(PAIRS[usize::from(*byte)].map(char::from));
    }
}

/// The digest that 64 digits of either case stand for; anything else is `None`.
pub(crate) fn decode(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut digest = [0; 32];
    // Looked at once, after all digits: a branch for each would take longer than the digits.
    let mut seen = 0;
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = (high << 4) | (low & 0x0f);
    }
    (seen & OTHER == 0).then_some(digest)
}

/// What stands for a character that is no digit: a bit that no digit's value has.
const OTHER: u8 = 0x80;

/// The value of every character as a digit.
const VALUES: [u8; 256] = {
    let mut values = [OTHER; 256];
    let mut digit = 0;
    while digit < 10 {
        values[b'0' as usize + digit as usize] = digit;
        digit += 1;
    }
    while digit < 16 {
        values[b'a' as usize + digit as usize - 10] = digit;
        values[b'A' as usize + digit as usize - 10] = digit;
        digit += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back_from_its_digits_in_either_case() {
        for start in (0..=255_u8).step_by(32) {
            let digest: [u8; 32] = std::array::from_fn(|i| start + u8::try_from(i).unwrap());
            let text = String::from_utf8(encode(&digest).to_vec()).unwrap();
            assert_eq!(decode(&text), Some(digest));
            assert_eq!(decode(&text.to_uppercase()), Some(digest));
            let mut pushed = String::new();
            push(&mut pushed, &digest);
            assert_eq!(pushed, text);
        }
    }

    #[test]
    fn other_lengths_and_other_characters_are_refused() {
        let good = "0".repeat(64);
        assert!(decode(&good).is_some());
        for bad in ["", "0", &good[1..], &format!("{good}0"), &good.replacen('0', "g", 1)] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode(&"é".repeat(32)), None);
        for byte in 0..=127_u8 {
            for place in [0, 63] {
                let mut text = "0".repeat(64).into_bytes();
                text[place] = byte;
                let read = decode(std::str::from_utf8(&text).unwrap());
                assert_eq!(read.is_some(), byte.is_ascii_hexdigit(), "{byte} at {place}");
            }
        }
    }
}

//! Percent-encoding: which bytes stand for themselves, and how the others are written.

/// Bytes that stand for themselves, by value.
pub(super) type Plain = [bool; 256];

/// In a segment of a path: all but the path percent-encode set without `^`, which deployed Node
/// versions leave alone.
pub(super) const SEGMENT: Plain = all_visible_but(b"\"#<>?`{}");

/// In a path as a whole: the same, but for the backslash, which may end a segment.
pub(super) const PATH: Plain = all_visible_but(b"\"#<>?\\`{}");

/// In the query of a web or file URL: all but the special-query percent-encode set.
pub(super) const QUERY: Plain = all_visible_but(b"\"#<>'");

/// In the query of another URL: all but the query percent-encode set.
pub(super) const OTHER_QUERY: Plain = all_visible_but(b"\"#<>");

/// In an opaque path: all but the C0 control percent-encode set.
pub(super) const OPAQUE: Plain = {
    let mut plain = all_visible_but(b"");
    plain[b' ' as usize] = true;
    plain
};

/// Appends text, copying runs of plain bytes at once. All bytes of a character beyond ASCII are
/// encoded, so a run never ends inside one.
pub(super) fn push(out: &mut String, text: &str, plain: &Plain) {
    let mut rest = text;
    while let Some(run) = rest.bytes().position(|b| !plain[usize::from(b)]) {
        out.push_str(&rest[..run]);
        let after = rest[run..].chars().next().map_or(rest.len(), |c| run + c.len_utf8());
        for byte in rest[run..after].bytes() {
            push_percent(out, byte);
        }
        rest = &rest[after..];
    }
    out.push_str(rest);
}

fn push_percent(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
}

const fn all_visible_but(encoded: &[u8]) -> Plain {
    let mut plain = [false; 256];
    let mut byte = 0x21;
    while byte <= 0x7e {
        plain[byte] = true;
        byte += 1;
    }
    let mut index = 0;
    while index < encoded.len() {
        plain[encoded[index] as usize] = false;
        index += 1;
    }
    plain
}

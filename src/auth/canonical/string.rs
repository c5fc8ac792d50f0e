//! Strings: from JSON's escapes to characters and back to the escapes of `JSON.stringify`.

use std::borrow::Cow;

/// Appends text with what `JSON.stringify` escapes escaped.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(run) = rest.bytes().position(needs_escape) {
        out.push_str(&rest[..run]);
        push_escape(out, rest.as_bytes()[run]);
        rest = &rest[run + 1..];
    }
    out.push_str(rest);
}

/// Appends the raw content of a JSON string with its escapes in the spelling of `JSON.stringify`.
pub(super) fn push_requoted(out: &mut String, raw: &str) {
    decode(raw, |unit| match unit {
        Unit::Text(text) => out.push_str(text),
        Unit::Char(c) => push_escaped(out, c.encode_utf8(&mut [0; 4])),
        Unit::Unpaired(surrogate) => push_unicode_escape(out, surrogate),
    });
}

/// Appends the characters of the raw content of a JSON string. An unpaired surrogate becomes U+FFFD,
/// as when JavaScript encodes a string as UTF-8.
pub(super) fn push_unescaped(out: &mut String, raw: &str) {
    decode(raw, |unit| match unit {
        Unit::Text(text) => out.push_str(text),
        Unit::Char(c) => out.push(c),
        Unit::Unpaired(_) => out.push('\u{fffd}'),
    });
}

/// The characters of the raw content of a JSON string; `None` when a surrogate is unpaired.
pub(super) fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut out = String::with_capacity(raw.len());
    let mut paired = true;
    decode(raw, |unit| match unit {
        Unit::Text(text) => out.push_str(text),
        Unit::Char(c) => out.push(c),
        Unit::Unpaired(_) => paired = false,
    });
    paired.then_some(Cow::Owned(out))
}

enum Unit<'a> {
    /// A run without escapes. It needs none in the output either: a JSON string cannot hold raw what
    /// must be escaped.
    Text(&'a str),
    Char(char),
    Unpaired(u16),
}

/// Takes raw content apart. The reader has checked the escapes, so their shape is trusted here.
fn decode<'a>(raw: &'a str, mut sink: impl FnMut(Unit<'a>)) {
    let mut rest = raw;
    while let Some(run) = rest.find('\\') {
        if run > 0 {
            sink(Unit::Text(&rest[..run]));
        }
        let (unit, length) = escape(&rest.as_bytes()[run..]);
        sink(unit);
        rest = rest.get(run + length..).unwrap_or_default();
    }
    if !rest.is_empty() {
        sink(Unit::Text(rest));
    }
}

/// What the escape at the start of the text stands for, and its length in bytes.
fn escape<'a>(text: &[u8]) -> (Unit<'a>, usize) {
    let plain = match text.get(1) {
        Some(b'u') => return unicode_escape(text),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(&other) => char::from(other),
        None => '\\',
    };
    (Unit::Char(plain), 2)
}

fn unicode_escape<'a>(text: &[u8]) -> (Unit<'a>, usize) {
    let first = code_unit(text).unwrap_or_default();
    if let Some(c) = char::from_u32(u32::from(first)) {
        return (Unit::Char(c), 6);
    }
    let second = text.get(6..).and_then(code_unit);
    match second.map(|second| char::decode_utf16([first, second]).next()) {
        Some(Some(Ok(c))) => (Unit::Char(c), 12),
        _ => (Unit::Unpaired(first), 6),
    }
}

/// The number of an escape `\u` with its four digits at the start of the text.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether the byte cannot stand in a JSON string as it is.
pub(super) fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\')
}

fn push_escape(out: &mut String, byte: u8) {
    out.push_str(match byte {
        b'"' => "\\\"",
        b'\\' => "\\\\",
        0x08 => "\\b",
        0x0c => "\\f",
        b'\n' => "\\n",
        b'\r' => "\\r",
        b'\t' => "\\t",
        other => return push_unicode_escape(out, u16::from(other)),
    });
}

fn push_unicode_escape(out: &mut String, unit: u16) {
    out.push_str("\\u");
    crate::hex::push(out, &unit.to_be_bytes());
}

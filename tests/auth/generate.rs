//! Generated inputs. The same seed gives the same inputs on every machine.

/// SplitMix64: small, and good enough to pick test inputs.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn between(&mut self, first: u32, last: u32) -> char {
        let span = usize::try_from(last - first + 1).unwrap();
        let offset = u32::try_from(self.below(span)).unwrap();
        char::from_u32(first + offset).unwrap()
    }
}

/// A request target: pieces that mean something to a URL parser, in any order.
pub(crate) fn target(random: &mut Random) -> String {
    let mut target = random.pick(TARGET_STARTS).to_owned();
    for _ in 0..random.below(9) {
        target.push_str(random.pick(TARGET_PIECES));
    }
    target
}

/// A message in JSON text, with odd spacing, odd escapes, duplicate keys and every shape of number.
pub(crate) fn message(random: &mut Random) -> String {
    let mut json = String::new();
    value(random, 4, &mut json);
    json
}

/// A message with one place spoiled; most are no longer JSON.
pub(crate) fn spoiled_message(random: &mut Random) -> String {
    let mut chars: Vec<char> = message(random).chars().collect();
    let at = random.below(chars.len() + 1);
    let end = (at + random.below(3)).min(chars.len());
    chars.splice(at..end, random.pick(SPOILERS).chars());
    chars.into_iter().collect()
}

fn value(random: &mut Random, depth: usize, json: &mut String) {
    blank(random, json);
    match random.below(if depth == 0 { 5 } else { 10 }) {
        0 => json.push_str(random.pick(&["null", "true", "false"])),
        1 | 2 => number(random, json),
        3 | 4 => string(random, json),
        5 | 6 => list(random, json, '[', ']', |random, json| value(random, depth - 1, json)),
        _ => list(random, json, '{', '}', |random, json| {
            key(random, json);
            blank(random, json);
            json.push(':');
            value(random, depth - 1, json);
        }),
    }
    blank(random, json);
}

fn list(
    random: &mut Random,
    json: &mut String,
    opener: char,
    closer: char,
    element: impl Fn(&mut Random, &mut String),
) {
    json.push(opener);
    for index in 0..random.below(8) {
        if index > 0 {
            json.push(',');
        }
        blank(random, json);
        element(random, json);
    }
    blank(random, json);
    json.push(closer);
}

fn blank(random: &mut Random, json: &mut String) {
    if random.below(12) == 0 {
        json.push_str(random.pick(&[" ", "\n", "\t", "\r\n", "  "]));
    }
}

fn number(random: &mut Random, json: &mut String) {
    if random.below(3) == 0 {
        json.push_str(random.pick(EDGE_NUMBERS));
        return;
    }
    if random.below(3) == 0 {
        json.push('-');
    }
    match random.below(4) {
        0 => json.push_str(&random.below(100_000).to_string()),
        1 => json.push_str(&random.next().to_string()),
        2 => json.push_str(&format!("{}.{:04}", random.below(1000), random.below(10_000))),
        _ => {
            let double = f64::from_bits(random.next()).abs();
            let double = if double.is_finite() { double } else { 0.5 };
            json.push_str(&format!("{double:e}"));
        }
    }
}

fn string(random: &mut Random, json: &mut String) {
    json.push('"');
    for _ in 0..random.below(8) {
        match random.below(8) {
            0 => json.push_str(random.pick(&[
                "\\\"",
                "\\\\",
                "\\/",
                "\\b",
                "\\f",
                "\\n",
                "\\r",
                "\\t",
                "\\u0000",
                "\\u001F",
                "\\u0041",
                "\\u00e9",
                "\\u2028",
                "\\ud83d\\ude00",
                "\\uD83D\\uDE00",
                "\\ud800",
                "\\uDFFF",
                "\\udc00\\ud800",
                "\\ud83d\\ud83d\\ude00",
                "\\u007f",
            ])),
            1 => json.push_str("\u{2028}\u{7f}"),
            _ => json.push(character(random)),
        }
    }
    json.push('"');
}

/// Keys: ordinary ones, those with a rule of their own, and texts of all scripts but Han.
fn key(random: &mut Random, json: &mut String) {
    json.push('"');
    if random.below(2) == 0 {
        json.push_str(random.pick(NOTED_KEYS));
    } else {
        for _ in 0..random.below(6) {
            json.push(character(random));
        }
    }
    json.push('"');
}

/// A character that needs no escape in JSON.
fn character(random: &mut Random) -> char {
    let character = match random.below(16) {
        0..=4 => random.between(0x61, 0x7a),
        5 | 6 => random.between(0x20, 0x7e),
        7 => random.between(0xa1, 0x24f),
        8 => random.between(0x300, 0x36f),
        9 => random.between(0x391, 0x3c9),
        10 => random.between(0x400, 0x4ff),
        11 => random.between(0x5d0, 0x5ea),
        12 => random.between(0x2010, 0x2027),
        13 => random.between(0x1f300, 0x1f5ff),
        14 => random.between(0x3041, 0x3096),
        _ => random.between(0xac00, 0xd7a3),
    };
    if matches!(character, '"' | '\\') { '\'' } else { character }
}

#[rustfmt::skip]
const TARGET_STARTS: &[&str] = &[
    "/", "/", "/", "/", "", "//", "///", "\\", "/\\", "http:", "http:/", "http://", "https://",
    "HTTPS:", "ws:", "wss://", "ftp:", "file:", "mailto:", "x:", "x:/", "x://", "C:", "?", "#",
    " ", "1a:", ":",
];

#[rustfmt::skip]
const TARGET_PIECES: &[&str] = &[
    "/", "/", "/", "//", "\\", ".", "..", "/.", "/..", "/./", "/../", "%2e", "%2E%2e", ".%2e",
    "...", "C:", "C|", "/C:/..", "/D|", "?", "#", "?a=b", "&c=", "é", "日本", "🔐", "\u{e000}",
    "\u{fdd0}", "\u{10ffff}", " ", "\t", "\n", "\r", "\0", "\u{1f}", "\u{7f}", "\u{80}", "\u{a0}",
    "a", "b", "x.y", "@", ":", ":80", ":99999", "[", "]", "[::1]", "%", "%zz", "%41", "^", "|",
    "`", "{", "}", "'", "\"", "<", ">", ";", "=", "$", ",", "+", "~", "!", "*", "(", "localhost",
    "h", "1.2.3.4", "256.1", "user:pw@",
];

#[rustfmt::skip]
const SPOILERS: &[&str] = &[
    "", "", "\"", "\\", "\\u", "\\ud800", "{", "}", "[", "]", ":", ",", "0", "-", ".", "e", "+",
    " ", "\u{feff}", "\u{a0}", "\u{b}", "\n", "\0", "null", "'", "/", "é", "\u{2028}", "_",
];

#[rustfmt::skip]
const EDGE_NUMBERS: &[&str] = &[
    "0", "-0", "-0.0", "1.0", "1e21", "1e20", "1E+2", "1e-7", "0.000001", "5e-324", "2e-324",
    "1e400", "-1e400", "1.7976931348623157e308", "1.7976931348623159e308", "9007199254740991",
    "9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775808",
    "18446744073709551615", "18446744073709551616", "123456789012345678901234567890", "4.35",
    "0.1", "0.30000000000000004", "2.2250738585072011e-308", "1e00", "0e5", "100e-2", "0.00",
];

#[rustfmt::skip]
const NOTED_KEYS: &[&str] = &[
    "__proto__", "__proto", "constructor", "toString", "toJSON", "length", "0", "1", "9", "10",
    "01", "-1", "4294967294", "4294967295", "1e3", "", " ", "a", "A", "b", "B", "ab", "aB", "Ab",
    "a_b", "a-b", "a.b", "a b", "client_id", "clientId", "ClientID", "\\u0061", "\\u0000",
    "a\\u0000", "\\t", "a\\u0301", "\u{e1}", "\\u00e1", "\\\"", "\\\\", "ae", "\u{e6}", "ss",
    "\u{df}", "\u{fb01}", "fi", "\u{2167}", "\u{2460}", "\u{ff41}", "\u{212b}", "\u{c5}",
    "A\u{30a}", "\u{1f600}", "\\ud83d\\ude00", "\u{1f1e9}\u{1f1ea}", "\u{200d}", "\u{ad}",
    "x\u{ad}y", "xy",
];

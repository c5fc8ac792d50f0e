//! Reading JSON text, by the grammar of `JSON.parse` and without recursion.

use super::CanonicalError;
use super::item::{self, Item};
use super::string;

/// The items of a message.
pub(super) fn items(json: &str) -> Result<Vec<Item<'_>>, CanonicalError> {
    // About one item per eight bytes is usual. The bound keeps a long text from reserving far more
    // than it needs.
    let items = Vec::with_capacity((json.len() / 8 + 1).min(1024));
    let mut reader = Reader { json, at: 0, items, open: Vec::new() };
    reader.document()?;
    Ok(reader.items)
}

struct Reader<'a> {
    json: &'a str,
    at: usize,
    items: Vec<Item<'a>>,
    /// The containers around the present place, outermost first.
    open: Vec<Open>,
}

struct Open {
    item: usize,
    closer: u8,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<(), CanonicalError> {
        loop {
            // A value stands here. It is complete unless it opened a container with contents.
            if self.value()? && !self.more()? {
                break;
            }
        }
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.expected("the end"),
        }
    }

    /// Reads one value, or the beginning of a container: then the result is false, and the next value
    /// is the container's first.
    fn value(&mut self) -> Result<bool, CanonicalError> {
        self.skip_blanks();
        let item = match self.peek() {
            Some(b'{') => return self.container(Item::Object { end: 0 }, b'}'),
            Some(b'[') => return self.container(Item::Array { end: 0 }, b']'),
            Some(b'"') => Item::Quoted(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        self.items.push(item);
        Ok(true)
    }

    fn container(&mut self, item: Item<'a>, closer: u8) -> Result<bool, CanonicalError> {
        self.open.push(Open { item: self.items.len(), closer });
        self.items.push(item);
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(closer) {
            self.close();
            return Ok(true);
        }
        if closer == b'}' {
            self.key()?;
        }
        Ok(false)
    }

    /// After a value: closes what ends here. Whether another value follows.
    fn more(&mut self) -> Result<bool, CanonicalError> {
        while let Some(closer) = self.open.last().map(|open| open.closer) {
            self.skip_blanks();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if closer == b'}' {
                        self.key()?;
                    }
                    return Ok(true);
                }
                Some(byte) if byte == closer => self.close(),
                _ if closer == b'}' => return self.expected("`,` or `}`"),
                _ => return self.expected("`,` or `]`"),
            }
        }
        Ok(false)
    }

    fn close(&mut self) {
        self.at += 1;
        if let Some(open) = self.open.pop() {
            item::close(&mut self.items, open.item);
        }
    }

    fn key(&mut self) -> Result<(), CanonicalError> {
        self.skip_blanks();
        if self.peek() != Some(b'"') {
            return self.expected("a key");
        }
        let offset = self.at + 1;
        let key = string::unescaped(self.string()?)
            .ok_or(CanonicalError::UnpairedSurrogateInKey { offset })?;
        self.items.push(Item::Key(key));
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return self.expected("`:`");
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string, from quote to quote, and returns what is between them.
    fn string(&mut self) -> Result<&'a str, CanonicalError> {
        self.at += 1;
        let start = self.at;
        loop {
            let rest = self.json.as_bytes().get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|&b| string::needs_escape(b)).unwrap_or(rest.len());
            self.at += plain;
            match rest.get(plain) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return self.expected("a character of a string, or its closing quote"),
            }
        }
        // Both ends are beside an ASCII quote, so they are boundaries of characters.
        let content = &self.json[start..self.at];
        self.at += 1;
        Ok(content)
    }

    fn escape(&mut self) -> Result<(), CanonicalError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|b| b.is_ascii_hexdigit()) {
                        return self.expected("a hex digit");
                    }
                    self.at += 1;
                }
            }
            _ => return self.expected("an escape"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Item<'a>, CanonicalError> {
        let start = self.at;
        self.skip_one(b"-");
        // A number that begins with zero has no more digits before its point.
        if !self.skip_one(b"0") {
            self.digits()?;
        }
        if self.skip_one(b".") {
            self.digits()?;
        }
        if self.skip_one(b"eE") {
            self.skip_one(b"+-");
            self.digits()?;
        }
        let text = &self.json[start..self.at];
        if is_canonical_integer(text) {
            return Ok(Item::Integer(text));
        }
        match text.parse() {
            Ok(number) => Ok(Item::Number(number)),
            Err(_) => self.expected("a number"),
        }
    }

    fn digits(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.expected("a digit") } else { Ok(()) }
    }

    fn word(&mut self) -> Result<Item<'a>, CanonicalError> {
        let rest = &self.json.as_bytes()[self.at..];
        let (length, item) = if rest.starts_with(b"null") {
            (4, Item::Null)
        } else if rest.starts_with(b"true") {
            (4, Item::Bool(true))
        } else if rest.starts_with(b"false") {
            (5, Item::Bool(false))
        } else {
            return self.expected("a value");
        };
        self.at += length;
        Ok(item)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn skip_one(&mut self, any_of: &[u8]) -> bool {
        let found = self.peek().is_some_and(|b| any_of.contains(&b));
        self.at += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.json.as_bytes().get(self.at).copied()
    }

    fn expected<T>(&self, expected: &'static str) -> Result<T, CanonicalError> {
        Err(CanonicalError::NotJson { offset: self.at, expected })
    }
}

/// Whether JavaScript prints a number of the grammar as it stands: at most 15 digits, which a double
/// holds exactly, and no sign, which might be that of a zero.
fn is_canonical_integer(text: &str) -> bool {
    text.len() <= 15 && text.bytes().all(|b| b.is_ascii_digit())
}

//! Writing laid-out items as canonical text, without recursion.

use super::item::{self, Item};
use super::order::{KeyOrder, Member};
use super::string;

/// The canonical text of a whole message. `size_hint` is a guess at its length in bytes.
pub(super) fn document(items: &[Item<'_>], size_hint: usize, order: &KeyOrder) -> String {
    let mut out = String::with_capacity(size_hint);
    match items.first() {
        // Alone, these are their own text: no quotes, no escapes, and null is nothing.
        None | Some(Item::Null) => {}
        Some(Item::Plain(text) | Item::Integer(text)) => out.push_str(text),
        Some(Item::Quoted(raw)) => string::push_unescaped(&mut out, raw),
        Some(Item::Number(number)) => push_number(&mut out, *number),
        Some(_) => Writer { items, order, out: &mut out, open: Vec::new() }.write(),
    }
    out
}

struct Writer<'a, 'b> {
    items: &'a [Item<'a>],
    order: &'b KeyOrder,
    out: &'b mut String,
    open: Vec<Open<'a>>,
}

/// A container of which the contents are being written.
enum Open<'a> {
    Array { next: usize, end: usize },
    Object(std::vec::IntoIter<Member<'a>>),
}

impl Writer<'_, '_> {
    fn write(&mut self) {
        self.begin(0);
        while let Some(innermost) = self.open.last_mut() {
            let next = match innermost {
                Open::Array { next, end } => {
                    let index = *next;
                    *next = item::after(self.items, index);
                    (index < *end).then_some((None, index)).ok_or(']')
                }
                Open::Object(members) => {
                    members.next().map(|member| (Some(member.key), member.value)).ok_or('}')
                }
            };
            match next {
                Ok((key, index)) => self.element(key, index),
                Err(closer) => {
                    self.out.push(closer);
                    self.open.pop();
                }
            }
        }
    }

    fn element(&mut self, key: Option<&str>, index: usize) {
        // No element ends with an opening bracket, so this tells the first one from the others.
        if !self.out.ends_with(['[', '{']) {
            self.out.push(',');
        }
        if let Some(key) = key {
            self.out.push('"');
            string::push_escaped(self.out, key);
            self.out.push_str("\":");
        }
        self.begin(index);
    }

    /// Writes a scalar, or opens a container.
    fn begin(&mut self, index: usize) {
        match &self.items[index] {
            Item::Null => self.out.push_str("null"),
            Item::Bool(truth) => self.out.push_str(if *truth { "true" } else { "false" }),
            Item::Number(number) if number.is_finite() => push_number(self.out, *number),
            Item::Number(_) => self.out.push_str("null"),
            Item::Integer(text) => self.out.push_str(text),
            Item::Quoted(raw) => self.quoted(|out| string::push_requoted(out, raw)),
            Item::Plain(text) => self.quoted(|out| string::push_escaped(out, text)),
            Item::Array { end } => {
                self.out.push('[');
                self.open.push(Open::Array { next: index + 1, end: *end });
            }
            Item::Object { end } => {
                self.out.push('{');
                let members = self.members(index + 1, *end);
                self.open.push(Open::Object(self.order.arrange(members).into_iter()));
            }
            // A key is always consumed together with its object.
            Item::Key(_) => {}
        }
    }

    fn quoted(&mut self, push: impl FnOnce(&mut String)) {
        self.out.push('"');
        push(self.out);
        self.out.push('"');
    }
}

impl<'a> Writer<'a, '_> {
    fn members(&self, start: usize, end: usize) -> Vec<Member<'a>> {
        let items = self.items;
        let mut members = Vec::new();
        let mut index = start;
        while index < end {
            if let Item::Key(key) = &items[index] {
                members.push(Member::new(key, index + 1));
            }
            index = item::after(items, index + 1);
        }
        members
    }
}

fn push_number(out: &mut String, number: f64) {
    out.push_str(ryu_js::Buffer::new().format(number));
}

//! Where secrets might have been left, and the search for them.

use std::path::{Path, PathBuf};

use crate::Result;

/// All that is stored, queued and logged anywhere at one moment.
#[derive(Default)]
pub(crate) struct Traces(Vec<Trace>);

struct Trace {
    place: Place,
    peer: &'static str,
    content: Vec<u8>,
}

/// What kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Redis,
    Database,
    Log,
    Queue,
}

impl Traces {
    pub(crate) fn add(&mut self, place: Place, peer: &'static str, content: String) {
        self.0.push(Trace { place, peer, content: content.into_bytes() });
    }

    pub(crate) fn add_file(&mut self, place: Place, peer: &'static str, file: &Path) -> Result<()> {
        let content = std::fs::read(file)?;
        self.0.push(Trace { place, peer, content });
        Ok(())
    }

    /// The bytes of the file, deleted rows included, and of the journal beside it.
    pub(crate) fn add_sqlite(&mut self, peer: &'static str, file: &Path) -> Result<()> {
        self.add_file(Place::Database, peer, file)?;
        let journal = PathBuf::from(format!("{}-wal", file.display()));
        if journal.exists() {
            self.add_file(Place::Database, peer, &journal)?;
        }
        Ok(())
    }

    /// Where the text is found, among these kinds of places.
    pub(crate) fn find(&self, text: &str, among: &[Place]) -> Vec<String> {
        let found = self.0.iter().filter(|trace| {
            among.contains(&trace.place) && contains(&trace.content, text.as_bytes())
        });
        found.map(|trace| format!("{:?} of {}", trace.place, trace.peer)).collect()
    }
}

/// Upper and lower case count as one: hex digits may have been written either way.
fn contains(content: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && content.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_the_kinds_of_places_that_are_asked_for() {
        let mut traces = Traces::default();
        traces.add(Place::Log, "a", "key=AbC\n".into());
        traces.add(Place::Queue, "b", String::new());
        assert_eq!(traces.find("abc", &[Place::Log, Place::Queue]), ["Log of a"]);
        assert!(traces.find("abc", &[Place::Queue]).is_empty());
        assert!(traces.find("abd", &[Place::Log]).is_empty());
    }
}

//! Where secrets might have been left, and the search for them.

use std::path::{Path, PathBuf};

use crate::Result;

/// All that is stored, queued and logged anywhere at one moment.
#[derive(Default)]
pub(crate) struct Traces(Vec<Trace>);

struct Trace {
    place: Place,
    peer: &'static str,
    /// In lower case: hex digits may have been written either way.
    content: String,
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
    pub(crate) fn add(&mut self, place: Place, peer: &'static str, content: &str) {
        self.0.push(Trace { place, peer, content: content.to_ascii_lowercase() });
    }

    pub(crate) fn add_file(&mut self, place: Place, peer: &'static str, file: &Path) -> Result<()> {
        let content = std::fs::read(file)?;
        self.add(place, peer, &String::from_utf8_lossy(&content));
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
        let text = text.to_ascii_lowercase();
        let looked_into = self.0.iter().filter(|trace| among.contains(&trace.place));
        let found = looked_into.filter(|trace| !text.is_empty() && trace.content.contains(&text));
        found.map(|trace| format!("{:?} of {}", trace.place, trace.peer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_in_the_kinds_of_places_that_are_asked_for() {
        let mut traces = Traces::default();
        traces.add(Place::Log, "a", "key=AbC\n");
        traces.add(Place::Queue, "b", "");
        assert_eq!(traces.find("abc", &[Place::Log, Place::Queue]), ["Log of a"]);
        assert!(traces.find("abc", &[Place::Queue]).is_empty());
        assert!(traces.find("abd", &[Place::Log]).is_empty());
    }
}

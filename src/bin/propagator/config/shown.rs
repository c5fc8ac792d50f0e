//! The configuration as it may be seen.

use std::collections::BTreeMap;

use super::keys::{self, Key};
use super::layers::{Given, Raw};
use super::problem::Source;

/// A key that is set, by whatever source.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) key: &'static Key,
    /// `None`: it is secret.
    pub(crate) value: Option<String>,
    pub(crate) source: Source,
}

impl Shown {
    pub(super) fn all(given: &BTreeMap<&'static str, Given>) -> Vec<Self> {
        let set = keys::ALL.iter().filter_map(|key| given.get(key.name).map(|given| (*key, given)));
        set.map(|(key, given)| Self {
            key,
            value: (!key.secret).then(|| text(&given.value)),
            source: given.source.clone(),
        })
        .collect()
    }
}

fn text(value: &Raw) -> String {
    match value {
        Raw::Text(text) => text.expose().to_owned(),
        Raw::List(texts) => texts.iter().map(|text| text.expose()).collect::<Vec<_>>().join(", "),
        Raw::Pairs(pairs) => {
            let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
            names.join(", ")
        }
    }
}
